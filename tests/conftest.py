import os

import torch

torch.set_num_threads(1)  # the models here are tiny, and a busy machine makes threads wait

# tests/nodes run inside a ComfyUI, which tests/test_hosts.py starts.
collect_ignore = [] if "ILVR_HOST" in os.environ else ["nodes"]


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped]
    for reason in dict.fromkeys(reasons):
        terminalreporter.write_line(f"NOT TESTED: {reason}", yellow=True)
