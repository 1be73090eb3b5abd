"""All stages in order as one job of a Ray cluster; what is complete is skipped."""

from art2real.cli.job import run_job

if __name__ == "__main__":
    run_job("pipeline")
