"""The HTML report: a model of the page, filled into templates."""
