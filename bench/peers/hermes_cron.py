"""Run by hermes-agent's own Python: what its cron tick does every 60 s to see that nothing is due.

    HERMES_HOME=… python hermes_cron.py JOBS LOOKS

Puts so many jobs, all due in a day, into cron/jobs.json in hermes-agent's own form, and prints as JSON how many
milliseconds each look took.
"""

from __future__ import annotations

import datetime
import importlib
import json
import sys
import time


def main() -> None:
    count, looks = int(sys.argv[1]), int(sys.argv[2])
    jobs = importlib.import_module("cron.jobs")
    first = jobs.create_job(prompt="hello", schedule="every 1440m", name="job 0", deliver="local")
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    rows = [
        {**first, "id": f"{number:012x}", "name": f"job {number}", "next_run_at": tomorrow} for number in range(count)
    ]
    jobs.save_jobs(rows)
    times = []
    for _ in range(looks):
        began = time.perf_counter()
        due = jobs.get_due_jobs()
        times.append((time.perf_counter() - began) * 1e3)
        assert not due
    assert len(jobs.load_jobs()) == count
    print(json.dumps(times))


if __name__ == "__main__":
    main()
