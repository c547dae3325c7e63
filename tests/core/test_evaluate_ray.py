import os
import signal
import threading
import time

import psutil
import pytest

from .test_evaluate import command, contents, run, tiny, units  # noqa: F401

ray = pytest.importorskip(
    "ray", reason="evaluate on a Ray cluster: Ray is not installed (pip install 'ilvr[ray]')"
)
OPTIONS = ["--factors", 2, 4, 8, "--ranges", 0, 500, "--samples-per-reference", 3]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of this machine with two workers."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def workers():
    """The processes of the cluster that run units."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "ray::_run" in command_line(child)]


def command_line(process) -> str:
    """Empty where the process is over."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_on_a_cluster_with_a_worker_killed_results_equal_the_single_process(
    tiny,  # noqa: F811
    tmp_path,
    cluster,
):
    alone, out, seen = tmp_path / "alone", tmp_path / "out", {}
    assert run(*command(tiny, alone, *OPTIONS)) == 0
    total = len(units(alone))

    def kill():
        while len(units(out)) < 5 or not (found := workers()):
            time.sleep(0.01)
        os.kill(found[0].pid, signal.SIGKILL)
        seen["killed"], seen["finished"] = found[0].pid, units(out)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert run(*command(tiny, out, *OPTIONS, "--ray")) == 0
    killer.join(10)
    assert 5 <= len(seen["finished"]) < total and not psutil.pid_exists(seen["killed"])
    assert len(units(out)) == total and units(out) | seen["finished"] == units(out)
    assert contents(out) == contents(alone)


def test_settings_that_do_not_fit_are_said_from_the_cluster_too(
    tiny,  # noqa: F811
    tmp_path,
    cluster,
    capsys,
):
    assert run(*command(tiny, tmp_path / "out", "--strength", 0.5, "--ray")) == 2
    said = capsys.readouterr().err
    assert "ilvr: strength 0.5 would mix" in said
    assert not (tmp_path / "out").exists()


def test_without_a_cluster_one_sentence_says_how_to_start_one(tiny, tmp_path, capsys):  # noqa: F811
    assert run(*command(tiny, tmp_path / "out", "--ray")) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("ilvr: No Ray cluster was found at 'auto'")
    assert not (tmp_path / "out").exists()
