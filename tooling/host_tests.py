"""tests/nodes in a process of a host, steered from outside: one start, and each test by its name.

Lines of JSON go both ways. The host's process says the names of its tests, is told which ones to
run, and says what came of each.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path

from tooling.hosts import HOW, ROOT, why_not
from tooling.in_host import call

TESTS = ROOT / "tests" / "nodes"
OPTIONS = ["-q", "--tb=short", "--color=no", "-o", "pythonpath=", "-p", "no:cacheprovider"]


class HostTests:
    """The tests in one host, seen from outside; the process starts at once."""

    def __init__(self, host: Path | None, tests: Path = TESTS):
        self.host, self._tests, self._results = host, tests, {}
        self._process, self._over = None, False
        if why_not(host) is None:
            self._start()

    def _start(self):
        self._files = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._log = Path(self._files.name) / "log"
        files = {"ILVR_HOST_FILES": str(Path(self._files.name) / "files")}
        with self._log.open("w") as log:
            pipes = {"input": subprocess.PIPE, "errors": log}
            self._process = call(self.host, inside, str(self._tests), **pipes, **files)

    @cached_property
    def _heard(self) -> list[str] | str | None:
        """What the process said first: its tests' names, or why there are none; None if nothing."""
        return json.loads(self._process.stdout.readline() or "null")

    @property
    def names(self) -> list[str]:
        return self._heard if self._process and isinstance(self._heard, list) else []

    @property
    def skipped(self) -> str | None:
        """Why nothing of this host is tested, where it is none that could be."""
        if self._process is None:
            return why_not(self.host)
        return self._heard if isinstance(self._heard, str) else None

    @cached_property
    def failure(self) -> str | None:
        """Why it has no tests, though it should, and its log."""
        if self.names or self.skipped:
            return None
        self._tell("[]")  # where it waits for that
        self._process.wait()
        log = self._log_end()
        reasons = re.findall(r"^(?:E +)?(\S*(?:Error|Exception): .+)", log, re.M)
        why = reasons[-1] if reasons else f"its process ended with {self._process.returncode}"
        return f"{self.host.name} does not start: {why}\n{log}"

    def result(self, name: str, chosen: list[str]) -> tuple[str, str]:
        """(outcome, why) of a test. The first call lets those chosen run, in their own order."""
        if not self._process.stdin.closed:
            self._tell(json.dumps(chosen))
        while name not in self._results:
            line = self._process.stdout.readline()
            if not line:
                return self._ended()
            told, *result = json.loads(line)
            self._results[told] = tuple(result)
        return self._results.pop(name)

    def _tell(self, chosen):
        with contextlib.suppress(OSError), self._process.stdin as asked:  # it may have ended
            asked.write(chosen)

    def _ended(self):
        """The first test without a result is what the process ended in."""
        ended = f"the process of {self.host.name} ended"
        if self._over:
            return "skipped", f"{ended} before"
        self._over = True
        return "failed", f"{ended} with {self._process.wait()}\n{self._log_end()}"

    def _log_end(self):
        return self._log.read_text(errors="replace")[-8000:]

    def end(self):
        if self._process:
            with self._process as process:
                process.kill()
            self._files.cleanup()


def inside(tests: str):
    """In the host: its tests, with nothing but our lines in stdout. All else goes to stderr."""
    say, chosen = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
    os.dup2(2, 1)
    try:
        import pytest
    except ModuleNotFoundError:
        reason = f"the .venv of {Path.cwd().name} has no pytest; {HOW}, pytest in it."
        return print(json.dumps(reason), file=say)
    options = ["-c", str(ROOT / "pyproject.toml"), *OPTIONS, tests]
    sys.exit(pytest.main(options, plugins=[Reporter(say, chosen)]))


class Reporter:
    """A plugin of pytest that tells what it does, and runs what it is told to."""

    def __init__(self, say, chosen):
        self.say, self.chosen, self.outcome, self.why = say, chosen, "passed", ""

    def pytest_collection_finish(self, session):
        if session.testsfailed:
            return
        self._tell([_name(item) for item in session.items])
        chosen = set(json.loads(self.chosen.read() or "[]"))
        session.items[:] = [item for item in session.items if _name(item) in chosen]

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.outcome, self.why = "skipped", report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            parts = (f"{title}\n{text}" for title, text in report.sections)
            self.outcome, self.why = "failed", "\n".join([self.why, report.longreprtext, *parts])
        if report.when == "teardown":
            self._tell([_name(report), self.outcome, self.why])
            self.outcome, self.why = "passed", ""

    def _tell(self, what):
        print(json.dumps(what), file=self.say, flush=True)


def _name(item):
    """Of a test or its report: file::test, without the folders above."""
    return re.sub("^[^:]*/", "", item.nodeid)
