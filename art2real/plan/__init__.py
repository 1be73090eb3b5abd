"""What a bank, its index and a training run will take, before anything is started: counts times constants."""
