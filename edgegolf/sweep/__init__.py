"""Many nets, sizes and seeds in one go: sweeps, their store, and what they found."""

from edgegolf.sweep.definition import nets_of, read_definition, shipped_names
from edgegolf.sweep.runs import RunSpec, SweepRun
from edgegolf.sweep.store import Store
from edgegolf.sweep.sweep import (
    NetSummary,
    Sweep,
    SweepResults,
    load_sweep,
    results_of,
    run_sweep,
    summarize_runs,
)
