"""Where a request came from: what is believed of the words of proxies, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carboy.wire.forwarded import FIELDS, Hop, Origin, Trust, canonical, find_client, is_host, parse_forwarded, parse_node, resolve

PROXIES = Trust(["10.0.0.0/8", "192.168.0.1", "2001:db8::/32"])

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
proxies = st.ip_addresses(v=4, network="10.0.0.0/8").map(str)
strangers = addresses.filter(lambda text: text not in PROXIES and canonical(text) == text)
field_values = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
fields = st.lists(st.tuples(st.sampled_from(FIELDS), field_values), max_size=6)


# ── trust ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_trust_covers_networks_addresses_and_mapped_ones():
    """A member is a network or an address; an IPv4 address mapped into IPv6 is that IPv4 address."""
    inside = ("10.1.2.3", "192.168.0.1", "::ffff:10.1.2.3", "2001:db8::5")
    outside = ("11.0.0.1", "192.168.0.2", "::1", "127.0.0.1", "", None, "10.1.2", "unix", "fe80::1%eth0")

    assert [peer in PROXIES for peer in inside] == [True] * 4
    assert [peer in PROXIES for peer in outside] == [False] * 9


def test_unix_is_trusted_only_by_name():
    """A peer without an address is on a Unix socket."""
    assert "" in Trust.of("unix")
    assert None in Trust.of("10.0.0.0/8 unix")
    assert None not in Trust.of("0.0.0.0/0,::/0")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "*", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_refused(text):
    """A list of proxies that cannot be read is an error that names the member."""
    with pytest.raises(ValueError, match="no network"):
        Trust.of(f"127.0.0.1,{text}")


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("1.2.3.4", ("1.2.3.4", None)),
        ("1.2.3.4:80", ("1.2.3.4", 80)),
        ("::1", ("::1", None)),
        ("[2001:DB8::1]", ("2001:db8::1", None)),
        ("[::1]:443", ("::1", 443)),
        ("::ffff:1.2.3.4", ("1.2.3.4", None)),
        ("1.2.3.4:99999", (None, None)),
        ("1.2.3", (None, None)),
        ("unknown", (None, None)),
        ("_hidden", (None, None)),
        ("[::1", (None, None)),
        ("", (None, None)),
        ("0x7f.1", (None, None)),
        ("١.2.3.4", (None, None)),
    ],
)
def test_nodes(text, node):
    """An address with or without a port, in each spelling that proxies use."""
    assert parse_node(text) == node


@given(strangers, st.lists(proxies, max_size=4), st.lists(field_values, max_size=4))
def test_client_is_the_first_stranger_from_the_right(client, behind, before):
    """Whatever stands left of the client was written by the client, and changes nothing."""
    _, found, _ = find_client([*before, client, *behind], PROXIES)

    assert found == client


@given(st.lists(st.one_of(addresses, field_values), max_size=40))
def test_client_is_always_an_address_of_the_chain(chain):
    """The client is None or an address that stands in the chain, with trusted proxies only to its right."""
    index, found, _ = find_client(chain, PROXIES)

    if index is None:
        assert found is None
    else:
        assert found == parse_node(chain[index])[0]
        assert all(parse_node(hop)[0] in PROXIES for hop in chain[index + 1 :])


# ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text(max_size=30))
def test_host_never_has_a_sign_that_means_something(text):
    """What passes as a host cannot end a header, a URL's authority or an attribute of HTML."""
    if is_host(text):
        assert not set(text) & set("/\\@?#<>\"' \t\r\n\0,;%&=")
        assert text.isascii()


@pytest.mark.parametrize("text", ["a\n", "a:80\n", "[::1]\n", "", ":80", "a:", "a:65536", "[1.2.3.4]x", "-a", "[]"])
def test_what_is_no_host(text):
    """Line ends, ports without a name, and ports out of range."""
    assert not is_host(text)


# ── Forwarded ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("for=1.2.3.4", [Hop("1.2.3.4")]),
        ('For="[2001:db8::1]:80"; Proto=https ;host="a.example:1"', [Hop("[2001:db8::1]:80", "https", "a.example:1")]),
        ("for=1.1.1.1, for=2.2.2.2;by=3.3.3.3", [Hop("1.1.1.1"), Hop("2.2.2.2")]),
        (r'for="1\.2.3.4"', [Hop("1.2.3.4")]),
        ('for="1.1.1.1, for=2.2.2.2"', [Hop("1.1.1.1, for=2.2.2.2")]),
        ("for=1.1.1.1;for=2.2.2.2", None),
        ('for="1.1.1.1', None),
        ("for=1.1.1.1,", None),
        ("for=1.1.1.1;", None),
        ("for = 1.1.1.1", None),
        (",for=1.1.1.1", None),
        ("", None),
    ],
)
def test_forwarded_syntax(text, hops):
    """RFC 7239's grammar; what breaks it is None as a whole, a comma in quotes separates nothing."""
    assert parse_forwarded(text) == hops


@given(st.text(max_size=80))
def test_forwarded_never_raises(text):
    """Any text is hops or None."""
    parse_forwarded(text)


@given(st.lists(st.tuples(strangers, st.sampled_from(["http", "https"])), min_size=1, max_size=4))
def test_forwarded_round_trip(hops):
    """Elements that are written as the RFC says are read as they were meant."""
    text = ", ".join(f'for="{f"[{address}]" if ":" in address else address}";proto={scheme}' for address, scheme in hops)
    parsed = parse_forwarded(text)

    assert parsed is not None
    assert [(parse_node(hop.client or "")[0], hop.scheme) for hop in parsed] == hops


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────


@given(strangers, fields)
def test_a_stranger_is_never_believed(peer, told):
    """Whatever fields come from a peer that is not trusted, nothing is known."""
    assert resolve(peer, told, PROXIES) == Origin()


@given(fields)
def test_what_is_believed_is_always_sane(told):
    """Whatever comes from a trusted peer: no text is handed on that a URL or an address could not be made of."""
    origin = resolve("10.0.0.1", told, PROXIES)

    assert origin.client is None or canonical(origin.client) == origin.client
    assert origin.scheme in (None, "http", "https")
    assert origin.host is None or is_host(origin.host)
    assert origin.prefix is None or (origin.prefix.startswith("/") and not origin.prefix.startswith("//") and origin.prefix.isascii())


@given(strangers, st.lists(proxies, max_size=3), field_values, field_values)
def test_client_cannot_choose_its_address(client, behind, lie, other_lie):
    """Behind proxies that append to X-Forwarded-For, no field of the client's own changes what it is taken for."""
    honest = ", ".join([lie, client, *behind]) if lie else ", ".join([client, *behind])
    told = [("x-forwarded-for", honest)]

    assert resolve("10.0.0.1", told, PROXIES).client == client
    # A second family of fields can only make everything unknown.
    assert resolve("10.0.0.1", [*told, ("forwarded", other_lie)], PROXIES).client in (client, None)


def test_values_of_the_proxy_that_the_client_came_to():
    """Of lists, the member counts that stands where the client does; a single value speaks for all."""
    told = [("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.2"), ("x-forwarded-proto", "evil, https, http"), ("x-forwarded-host", "shop.example")]

    origin = resolve("10.0.0.1", told, PROXIES)

    assert (origin.client, origin.scheme, origin.host) == ("203.0.113.7", "https", "shop.example")


def test_fields_in_several_lines_are_one_list():
    """Two X-Forwarded-For lines are read as one, in order."""
    told = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.0.0.2")]

    assert resolve("10.0.0.1", told, PROXIES).client == "203.0.113.7"


def test_only_fields_believed_count():
    """What the operator does not name is not read."""
    told = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-host", "evil.example"), ("forwarded", "for=6.6.6.6")]

    assert resolve("10.0.0.1", told, PROXIES, ["x-forwarded-for"]) == Origin(client="203.0.113.7")


def test_two_families_that_agree_complete_each_other():
    """Forwarded and X-Forwarded-* of one proxy, saying the same."""
    told = [("forwarded", "for=203.0.113.7;proto=https"), ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-prefix", "/shop/")]

    assert resolve("10.0.0.1", told, PROXIES) == Origin(client="203.0.113.7", scheme="https", prefix="/shop")
