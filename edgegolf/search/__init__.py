"""Searches for the cheapest net of a space that reaches an accuracy."""

from edgegolf.search.results import SearchResults, Trial, recipe_text
from edgegolf.search.search import load_search, results_of, run_search
from edgegolf.search.space import COSTS, read_space
