"""One module a part: `run(runs=…, peers=…)` returns its figures."""
