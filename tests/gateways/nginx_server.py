"""A real nginx before a FastCGI server of ours: its configuration, its process, its ports. No tests live here."""

import http.client
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 100m;
    client_body_buffer_size 64k;
    upstream app {{ server {address}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        server_name shop.example;

        # What Debian's and nginx's own fastcgi_params hold: no PATH_INFO.
        fastcgi_param QUERY_STRING       $query_string;
        fastcgi_param REQUEST_METHOD     $request_method;
        fastcgi_param CONTENT_TYPE       $content_type;
        fastcgi_param CONTENT_LENGTH     $content_length;
        fastcgi_param SCRIPT_NAME        $fastcgi_script_name;
        fastcgi_param REQUEST_URI        $request_uri;
        fastcgi_param DOCUMENT_URI       $document_uri;
        fastcgi_param DOCUMENT_ROOT      $document_root;
        fastcgi_param SERVER_PROTOCOL    $server_protocol;
        fastcgi_param REQUEST_SCHEME     $scheme;
        fastcgi_param HTTPS              $https if_not_empty;
        fastcgi_param GATEWAY_INTERFACE  CGI/1.1;
        fastcgi_param SERVER_SOFTWARE    nginx/$nginx_version;
        fastcgi_param REMOTE_ADDR        $remote_addr;
        fastcgi_param REMOTE_PORT        $remote_port;
        fastcgi_param SERVER_ADDR        $server_addr;
        fastcgi_param SERVER_PORT        $server_port;
        fastcgi_param SERVER_NAME        $server_name;

        fastcgi_keep_conn on;
        location / {{ fastcgi_pass app; }}
        location /once/ {{ fastcgi_keep_conn off; fastcgi_pass {address}; }}
        location /stream/ {{ fastcgi_buffering off; fastcgi_pass app; }}
        location /upload/ {{ fastcgi_request_buffering off; fastcgi_pass app; }}
        location /mount/ {{
            fastcgi_split_path_info ^(/mount)(/.*)$;
            fastcgi_param SCRIPT_NAME $fastcgi_script_name;
            fastcgi_param PATH_INFO $fastcgi_path_info;
            fastcgi_pass app;
        }}
    }}
}}
"""


def find_nginx() -> str:
    """The path of nginx; without one the test is skipped, and fails in CI, where there must be one."""
    path = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if path is None:
        text = "nginx is not installed (Debian: apt-get install nginx-light)"
        if os.environ.get("CI"):
            pytest.fail(f"{text}; CI must have it")
        pytest.skip(text)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nginx:
    """nginx in the foreground; a context.

    Args:
        folder: for its files; short-lived.
        address: of the FastCGI server, as fastcgi_pass has it: "unix:/path" or "host:port".
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.binary = find_nginx()
        self.folder = folder
        self.port = free_port()
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=self.port, address=address))

    def __enter__(self) -> Self:
        command = [self.binary, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]
        with (self.folder / "nginx.out").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    pytest.fail(f"nginx did not start: {self.log()}")
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def log(self) -> str:
        files = (self.folder / "nginx.out", self.folder / "error.log")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
