"""`art2real-cli build-index` as a job of a Ray cluster, with the same options."""

from art2real.cli.job import run_job

if __name__ == "__main__":
    run_job("build-index")
