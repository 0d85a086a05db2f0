"""What is signed here opens with itsdangerous, what it signed opens here, and nothing else opens."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadSignature as TheirBadSignature
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from carboy.wire.signing import BadSignature, SignatureExpired, TimedSigner
from carboy.wire.tagged import TaggedJSONSerializer

SALT = "cookie-session"
SERIALIZER = TaggedJSONSerializer()
KEYS = st.lists(st.text(min_size=1).filter(lambda key: key.isascii()) | st.binary(min_size=1, max_size=100), min_size=1)
VALUES = st.dictionaries(
    st.text(max_size=20), st.none() | st.integers() | st.text() | st.binary() | st.lists(st.booleans()), max_size=6
)
NOW = 1_700_000_000


def theirs(keys, digest=hashlib.sha1, salt=SALT):
    return URLSafeTimedSerializer(
        keys,
        salt=salt,
        serializer=SERIALIZER,
        signer_kwargs={"key_derivation": "hmac", "digest_method": digest},
    )


def at(second, *keys):
    return TimedSigner(keys or ["secret"], SALT, clock=lambda: second)


@given(VALUES, KEYS)
def test_itsdangerous_opens_what_is_sealed_here(value, keys):
    """Any payload, under any keys, is read and found fresh."""
    text = TimedSigner(keys, SALT).seal(SERIALIZER.encode(value))

    assert theirs(keys).loads(text, max_age=60) == value


@given(VALUES, KEYS)
def test_what_itsdangerous_signed_opens_here(value, keys):
    """Any payload, under any keys."""
    text = theirs(keys).dumps(value)

    assert SERIALIZER.loads(TimedSigner(keys, SALT).open(text, 60).decode()) == value


@pytest.mark.parametrize("digest", [hashlib.sha256, hashlib.sha512])
def test_other_digests_and_salts_are_compatible_too(digest):
    """The format does not depend on SHA-1 nor on the session's salt."""
    signer = TimedSigner(["secret"], b"mail", digest=digest)

    assert theirs("secret", digest, "mail").loads(signer.seal(b"[1]")) == [1]
    assert signer.open(theirs("secret", digest, "mail").dumps([1])) == b"[1]"


@pytest.mark.parametrize("payload", [b"{}", b'{"a":"' + b"xyz" * 40 + b'"}', bytes(range(256)), b"a" * 64, b"a" * 63])
def test_a_payload_comes_back(payload):
    """Short or long, whether or not compressing it pays."""
    signer = at(NOW)

    assert signer.open(signer.seal(payload), max_age=0) == payload


def test_a_long_repetitive_payload_is_compressed_as_itsdangerous_does():
    """Compressed texts begin with a dot and are the same on both sides."""
    value = {"a": "xyz" * 40}
    text = TimedSigner(["k"], SALT).seal(SERIALIZER.encode(value))

    assert text.startswith(".eJ")
    assert text.split(".")[1] == theirs("k").dumps(value).split(".")[1]


def test_a_payload_that_does_not_shrink_is_not_compressed():
    """Compressing must win at least two bytes, as with itsdangerous."""
    payload = hashlib.sha512(b"noise").digest()

    assert not at(NOW).seal(payload).startswith(".")


@given(VALUES, st.data())
def test_a_changed_text_is_refused(value, data):
    """A character replaced, dropped or added anywhere spoils the signature."""
    text = at(NOW).seal(SERIALIZER.encode(value))
    where = data.draw(st.integers(0, len(text)))
    what = data.draw(st.text(st.characters(codec="utf-8"), max_size=2))
    changed = text[:where] + what + text[where + data.draw(st.integers(0, 2)) :]

    if changed == text:
        assert at(NOW).open(changed) == SERIALIZER.encode(value)
    else:
        with pytest.raises(BadSignature):
            at(NOW).open(changed)


@given(st.text() | st.text(st.sampled_from("abc.-_=")))
def test_a_text_that_nobody_signed_is_refused(text):
    """Whatever a client sends: a refusal that itsdangerous' callers catch too."""
    with pytest.raises(TheirBadSignature):
        at(NOW).open(text, max_age=60)


def test_a_text_of_another_key_or_salt_is_refused():
    """The same payload signed for another end does not count."""
    for other in (TimedSigner(["other"], SALT), TimedSigner(["secret"], "mail")):
        with pytest.raises(BadSignature, match="none of the keys"):
            at(NOW).open(other.seal(b"{}"))


def test_old_keys_open_and_the_newest_signs():
    """Keys are rotated by adding one at the end and, later, dropping the first."""
    old = at(NOW, "a").seal(b"{}")
    between = at(NOW, "a", "b")
    new = at(NOW, "b", "c")

    assert between.open(old) == b"{}"
    assert between.seal(b"{}") == at(NOW, "b").seal(b"{}")
    assert new.open(between.seal(b"{}")) == b"{}"
    with pytest.raises(BadSignature):
        new.open(old)


@pytest.mark.parametrize("age", [0, 1, 60])
def test_a_text_within_its_age_opens(age):
    """The limit itself is still allowed."""
    assert at(NOW + age).open(at(NOW).seal(b"{}"), max_age=60) == b"{}"


@pytest.mark.parametrize("age", [61, 10**6, -1])
def test_a_text_too_old_or_of_the_future_is_expired(age):
    """A clock that went back does not make a text valid for ever."""
    with pytest.raises(SignatureExpired):
        at(NOW + age).open(at(NOW).seal(b"{}"), max_age=60)

    assert at(NOW + age).open(at(NOW).seal(b"{}")) == b"{}"


def test_the_time_moves_on_between_two_seals():
    """The remembered second is not used in the next."""
    now = [NOW]
    signer = TimedSigner(["secret"], SALT, clock=lambda: now[0])
    first = signer.seal(b"{}")
    now[0] += 100

    assert signer.open(signer.seal(b"{}"), max_age=60) == b"{}"
    with pytest.raises(SignatureExpired):
        signer.open(first, max_age=60)


@pytest.mark.parametrize("payload", [b"{}", b'{"a":"' + b"x" * 400 + b'"}'])
def test_what_was_opened_is_signed_again_as_if_it_were_sealed(payload):
    """The same text as a new seal of the same second, compressed or not, by the newest key."""
    first = at(NOW, "a").seal(payload)
    later = at(NOW + 50, "a", "b")
    later.open(first)

    again = later.renew(first)

    assert again == at(NOW + 50, "b").seal(payload)
    assert at(NOW + 100, "b").open(again, max_age=60) == payload


@pytest.mark.parametrize("body", [b".AAAA", b"A", b".eJw", b"..", b"."])
def test_a_signed_text_of_another_format_is_refused(body):
    """Who has the key can sign nonsense; it is a refusal all the same."""
    text = TimestampSigner("secret", SALT, key_derivation="hmac", digest_method=hashlib.sha1).sign(body).decode()

    with pytest.raises(BadSignature, match="signed, but"):
        TimedSigner(["secret"], SALT).open(text)


def test_a_signed_text_without_a_time_is_refused():
    """A plain signature of the same key has one part less."""
    text = theirs("secret").make_signer()
    bare = super(TimestampSigner, text).sign("e30").decode()

    with pytest.raises(BadSignature, match="without a time"):
        TimedSigner(["secret"], SALT).open(bare)


def test_nothing_is_unpacked_before_the_signature_is_known(monkeypatch):
    """A bomb that nobody signed is never inflated."""
    bomb = at(NOW, "attacker").seal(b"0" * 10_000_000)
    monkeypatch.setattr(zlib, "decompress", lambda data: pytest.fail("unpacked"))

    with pytest.raises(BadSignature):
        at(NOW).open(bomb)


def test_a_signature_has_one_spelling():
    """Base64 can be written in several ways; only the one that was sent out counts."""
    text = at(NOW).seal(b"{}")
    last = text[-1]
    sibling = text[:-1] + chr(ord(last) + 1)

    for other in (text + "=", text + "\n", text[:-2] + "*" + text[-2:], sibling):
        with pytest.raises(BadSignature):
            at(NOW).open(other)


def test_a_signer_needs_a_key():
    """Without a key there is nothing to sign with."""
    with pytest.raises(ValueError, match="at least one secret key"):
        TimedSigner([], SALT)
