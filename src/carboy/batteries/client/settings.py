"""How other servers are called: one frozen value, read from `HTTP_CLIENT_*` keys of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Pause = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Number = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds, sizes in bytes.

    Attributes:
        connect_timeout: for TCP and TLS.
        read_timeout: between two pieces of the answer.
        write_timeout: between two pieces of the request.
        pool_timeout: for a free connection of the pool.
        deadline: for the whole call: retries, their pauses, redirects and the body. A stream's ends with its head.
        max_connections: of one pool.
        max_keepalive: of those, how many may wait for the next request.
        keepalive_expiry: how long they wait.
        retries: most attempts after the first.
        retry_pause: the first pause is drawn between 0 and this; each next one from twice as much.
        retry_pause_max: and no more than this.
        retry_after_max: a server that asks for a longer pause by Retry-After is not asked again.
        breaker_failures: so many failures in a row open the circuit of an origin; 0 never does.
        breaker_pause: how long it stays open before one request may try.
        verify: check certificates: yes, no, or a file of the authorities that count.
        http2: speak HTTP/2 where the server does; needs `httpx2[http2]`.
        base_url: relative URLs are below this.
        user_agent: the header of that name; the app's name if not given.
        redirects: most redirects that are followed; 0 hands them to the caller.
        private_headers: headers that a redirect to another origin does not take along, beside Authorization and Cookie.
        max_response: most bytes of an answer, compression refused; 0 for no limit.
        propagate: hand on X-Request-ID and trace context of the request at hand.
        trust_env: honour HTTP_PROXY and its like.
        public_hosts: the only hosts that `app.http.public` calls, `.name` for all below it; all public ones if empty.
        public_max_response: `max_response` of `app.http.public`.
    """

    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 10.0
    write_timeout: Seconds = 10.0
    pool_timeout: Seconds = 5.0
    deadline: Seconds = 30.0
    max_connections: Number = 100
    max_keepalive: Count = 20
    keepalive_expiry: Pause = 5.0
    retries: Count = 2
    retry_pause: Pause = 0.1
    retry_pause_max: Pause = 2.0
    retry_after_max: Pause = 10.0
    breaker_failures: Count = 5
    breaker_pause: Pause = 30.0
    verify: bool | str = True
    http2: bool = False
    base_url: str = ""
    user_agent: str | None = None
    redirects: Count = 0
    private_headers: tuple[str, ...] = ("x-api-key", "api-key", "x-auth-token")
    max_response: Count = 0
    propagate: bool = True
    trust_env: bool = True
    public_hosts: tuple[str, ...] = ()
    public_max_response: Count = 10 * 1024 * 1024
