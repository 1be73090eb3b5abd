"""The human study: which picture looks more real, asked of people."""
