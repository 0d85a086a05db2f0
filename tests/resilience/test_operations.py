"""What operators do: reload, scale and stop by `carboy ctl`, sockets from systemd, Unix sockets, pid files, recycling."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

from carboy.server.control import ask


def test_ctl_scales_under_load_without_loss(run, under_load, wait_until, figure):
    """`scale` up and down: the workers come and go, no request is lost."""
    served = run(ready=1)

    with under_load(served.port, 8) as losses:
        assert ask({"do": "scale", "to": 3}, served.control)["ok"]
        served.wait_ready(3)
        assert ask({"do": "scale", "to": 1}, served.control)["ok"]
        wait_until(lambda: len(served.pids()) == 1, 10)

    figure("losses", losses)
    assert losses.lost == losses.repeated == losses.refused == 0


def test_ctl_reload_tells_the_outcome(run, folder):
    """`reload` answers when it is through: well with the new release, badly with the reason."""
    served = run(ready=1)
    text = (folder / "app.py").read_text()

    (folder / "app.py").write_text(text.replace('RELEASE = "one"', 'RELEASE = "two"'))
    good = ask({"do": "reload"}, served.control)
    after = served.get()
    (folder / "app.py").write_text("raise ValueError('broken on purpose')\n")
    bad = ask({"do": "reload"}, served.control)

    assert good["ok"], good
    assert after.startswith("two")
    assert not bad["ok"]
    assert "broken on purpose" in bad["what"]
    assert served.get().startswith("two")


def places_of_threads(pid):
    """The sets of processors that the threads of a process keep to: one set, if they are all the same."""
    return {frozenset(os.sched_getaffinity(int(number))) for number in os.listdir(f"/proc/{pid}/task")}


def test_pinned_workers_have_a_processor_each(run, wait_until):
    """Also the one that takes a killed one's place; the main process stays free."""
    ours = sorted(os.sched_getaffinity(0))
    served = run("--pin", "--workers", "2", ready=2)
    places = {worker["slot"]: worker["pid"] for worker in served.status()["workers"]}
    for _ in range(10):
        served.get()

    for slot, pid in places.items():
        assert places_of_threads(pid) == {frozenset({ours[slot % len(ours)]})}
    assert os.sched_getaffinity(served.pid) == set(ours)

    os.kill(places[1], signal.SIGKILL)
    # The main process may be asked before it has seen the death, or while the next one loads.
    wait_until(lambda: len(set(served.ready()) - {places[1]}) == 2, 10)
    (second,) = (worker["pid"] for worker in served.status()["workers"] if worker["slot"] == 1)
    assert second != places[1]
    assert os.sched_getaffinity(second) == {ours[1 % len(ours)]}


def test_ctl_stop_stops(run):
    """`stop` ends the server in order, with exit code 0."""
    served = run(ready=1)

    answer = ask({"do": "stop"}, served.control)
    served.wait(10)

    assert answer["ok"]
    assert served.process.returncode == 0
    assert not os.path.exists(served.control)


def test_status_counts_requests(run, wait_until):
    """Requests, memory, age and what is in flight are told for each worker."""
    served = run(ready=1)
    for _ in range(7):
        served.get()

    wait_until(lambda: served.status()["workers"][0]["requests"] == 7, 5)
    (worker,) = served.status()["workers"]

    assert worker["in_flight"] == 0
    assert worker["memory"] > 10_000_000
    assert worker["lag"] < 1
    assert worker["last_beat"] < 2
    assert worker["accepting"] is True


def test_worker_told_to_leave_is_replaced(run, under_load, wait_until, figure):
    """SIGTERM to a worker (`kill PID`): it leaves in order, and another takes its place."""
    served = run(ready=2)
    victim = served.ready()[0]

    with under_load(served.port, 8) as losses:
        time.sleep(0.2)
        os.kill(victim, signal.SIGTERM)
        wait_until(lambda: victim not in served.pids() and len(served.ready()) == 2, 10)

    figure("losses", losses)
    assert losses.lost == losses.repeated == losses.refused == 0


def test_old_workers_are_recycled(run, wait_until):
    """--max-age and --max-memory replace a worker that has had its time."""
    served = run("--max-age", "1s", ready=1)
    (first,) = served.ready()
    wait_until(lambda: served.ready() and first not in served.ready(), 10)
    assert "s of age" in served.text()


def test_large_workers_are_recycled(run, wait_until):
    """--max-memory below what any worker has: replaced at once, again and again, and still serving."""
    served = run("--max-memory", "1M", ready=1)
    (first,) = served.ready()
    wait_until(lambda: served.ready() and first not in served.ready(), 10)
    assert served.get().startswith("one")
    assert "MiB of memory" in served.text()


def test_unix_socket_is_made_private_and_removed(run, folder, wait_until):
    """--unix: mode 660, a stale socket is replaced, a living one is not, and none is left at the end."""
    path = folder / "app.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    served = run("--unix", str(path), ready=1)
    mode = path.stat().st_mode & 0o777

    second = run("--unix", str(path), "--control", str(folder / "second.sock"), ready=None)

    assert second.process.wait(20) == 1
    assert mode == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    served.signal(signal.SIGTERM)
    served.wait(10)
    assert not path.exists()


def test_unix_socket_reload_loses_nothing(run, folder):
    """Requests on a Unix socket while the workers are renewed: all answered."""
    path = folder / "app.sock"
    served = run("--unix", str(path), ready=1)
    served.signal(signal.SIGHUP)

    answered = 0
    until = time.monotonic() + 15
    while ("release 2 serves" not in served.text() or answered < 200) and time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        answered += 1
        time.sleep(0.005)

    assert "release 2 serves" in served.text()


def test_pid_file_is_written_and_removed(run, folder):
    """--pid-file holds the main process's id while it runs, and a living holder refuses a second server."""
    path = folder / "server.pid"
    served = run("--pid-file", str(path), ready=1)
    written = int(path.read_text())

    second = run("--pid-file", str(path), "--control", str(folder / "second.sock"), ready=None)
    code = second.process.wait(20)
    served.signal(signal.SIGTERM)
    served.wait(10)

    assert written == served.pid
    assert code == 1
    assert not path.exists()


def test_systemd_socket_and_notifications(folder, keep):
    """LISTEN_FDS is served, NOTIFY_SOCKET hears READY, RELOADING and STOPPING, the watchdog is fed."""
    listening = keep(socket.create_server(("127.0.0.1", 0)))
    notices = keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    notices.bind(str(folder / "notify.sock"))
    notices.settimeout(10)
    heard = []
    # LISTEN_PID must be the server's own; the shell that becomes it knows.
    script = f'exec env LISTEN_PID=$$ LISTEN_FDS=1 "{sys.executable}" -m carboy run app:app --workers 1 --control "{folder}/c.sock"'
    environ = {
        **os.environ,
        "NOTIFY_SOCKET": str(folder / "notify.sock"),
        "WATCHDOG_USEC": "1000000",
        "PYTHONPATH": os.environ.get("PYTHONPATH", "src"),
    }

    def as_third():
        os.dup2(listening.fileno(), 3, inheritable=True)

    process = subprocess.Popen(["/bin/sh", "-c", script], cwd=folder, env=environ, preexec_fn=as_third, close_fds=False)  # noqa: PLW1509 - only dup2
    try:
        while not any("READY=1" in each for each in heard):
            heard.append(notices.recv(4096).decode())
        with socket.create_connection(listening.getsockname(), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answered = client.recv(100).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGHUP)
        while sum("READY=1" in each for each in heard) < 2 or not any("WATCHDOG=1" in each for each in heard):
            heard.append(notices.recv(4096).decode())
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        notices.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(notices.recv(4096).decode())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()

    assert answered
    said = " ".join(heard)
    assert f"MAINPID={process.pid}" in said
    assert "RELOADING=1\nMONOTONIC_USEC=" in said
    assert "STOPPING=1" in said
    # systemd keeps the socket: what connects now waits for the next start instead of being dropped.
    with socket.create_connection(listening.getsockname(), timeout=2):
        pass


def test_ctl_command_shows_the_workers(run):
    """`carboy ctl status` prints a table; --json the whole answer."""
    served = run(ready=2)
    command = [sys.executable, "-c", "from carboy.cli.ctl import ctl_command; ctl_command()", "status", "--control", served.control]
    environ = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "src")}

    table = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    whole = json.loads(subprocess.run([*command, "--json"], env=environ, capture_output=True, text=True, check=True).stdout)

    assert all(str(pid) in table for pid in served.pids())
    assert whole["size"] == 2


def test_configuration_of_the_application_counts(run, folder):
    """`SERVER_*` keys of a Carboy application set what nobody nearer has given; the command line outranks them."""
    path = folder / "both.py"
    path.write_text(path.read_text() + "\napp.config.update(SERVER_WORKERS=3, SERVER_PORT=1, SERVER_PID_FILE='server.pid')\n")

    served = run(ready=None, target="both:app")
    served.wait_ready(3)

    assert served.get().startswith("one")
    assert int((folder / "server.pid").read_text()) == served.pid


def test_interrupt_while_loading_is_quiet(run, folder, wait_until):
    """Ctrl-C before anything is served: gone at once, without a traceback."""
    (folder / "app.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(30)\n")
    served = run(ready=None)
    wait_until(lambda: "loading" in served.text(), 15)

    served.signal(signal.SIGINT)
    served.wait(5)

    assert served.process.returncode == 130
    assert "Traceback" not in served.text()


def test_first_worker_that_fails_ends_the_server(run, folder):
    """An application that cannot be loaded is said at once, once, and the exit code is 1."""
    (folder / "app.py").write_text("app = 1 / 0\n")

    served = run("--workers", "3", ready=None)

    assert served.process.wait(20) == 1
    assert served.text().count("ZeroDivisionError") == 1
    assert 'app.py", line 1' in served.text()
