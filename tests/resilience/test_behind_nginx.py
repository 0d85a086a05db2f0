"""Behind nginx, over HTTP and over FastCGI: reloads and kills are not seen by nginx's clients."""

import os
import shutil
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.service, pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (Debian: nginx-light)")]

CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream app {{ server unix:{folder}/app.sock; keepalive 16; keepalive_timeout 8s; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ {location} }}
  }}
}}
"""
PROXY = 'proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'
FASTCGI = """fastcgi_pass app; fastcgi_keep_conn on;
  fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri; fastcgi_param SCRIPT_NAME "";
  fastcgi_param PATH_INFO $uri; fastcgi_param QUERY_STRING $query_string; fastcgi_param SERVER_NAME $host;
  fastcgi_param SERVER_PORT $server_port; fastcgi_param SERVER_PROTOCOL $server_protocol;
  fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;"""


@pytest.fixture
def nginx(folder, free_port, wait_until):
    """Start an nginx before the application's socket; gives its port."""
    started = []

    def start(location):
        port = free_port()
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, location=location))
        command = [shutil.which("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: (folder / "nginx.pid").exists(), 5)
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("way", ["http", "fastcgi"])
def test_reload_and_kill_are_not_seen_behind_nginx(run, nginx, under_load, folder, figure, wait_until, way):
    """Two reloads under load through nginx: no request fails; a killed worker fails only what it had in flight."""
    socket_path = f"{folder}/app.sock"
    place = ("--unix", socket_path) if way == "http" else ("--fastcgi", f"unix:{socket_path}")
    # nginx of this test runs as whoever runs the test; elsewhere it is another user of the socket's group.
    served = run(*place, ready=2, target="both:app")
    port = nginx(PROXY if way == "http" else FASTCGI)

    with under_load(port, 8) as losses:
        for _ in range(2):
            before = set(served.pids())
            served.signal(signal.SIGHUP)
            wait_until(lambda before=before: not before & set(served.pids()) and served.status()["state"] == "serving", 15)
    with under_load(port, 8) as killed:
        time.sleep(0.3)
        os.kill(served.ready()[0], signal.SIGKILL)
        served.wait_ready(2)

    figure("reloads", losses)
    figure("a kill", killed)
    assert losses.lost == losses.repeated == losses.refused == 0
    assert killed.lost <= 8
