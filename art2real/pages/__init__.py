"""The look of all HTML pages: one base template, pictures inside of the page, diagrams in its colours."""
