"""Models on another machine, reached over SSH: installed, run, compared, measured there."""
