"""The SQL of accounts."""

import hashlib
import secrets
from sqlite3 import Connection, IntegrityError, Row

from werkzeug.security import check_password_hash, generate_password_hash

# Checked when a name is unknown, so that the answer takes as long as for a wrong password.
NOBODYS_HASH = generate_password_hash(secrets.token_hex())


class NameTaken(Exception):
    """Somebody has this name already."""


def add_user(db: Connection, name: str, password: str) -> Row:
    """Make an account and return the user.

    Raises:
        NameTaken: the name is in use; Anna and anna are one name.
    """
    try:
        with db:
            made = db.execute(
                "INSERT INTO users (name, password_hash, session_key) VALUES (?, ?, ?) RETURNING *",
                (name, generate_password_hash(password), secrets.token_hex(16)),
            )
            return made.fetchone()
    except IntegrityError as error:
        raise NameTaken(name) from error


def user_by_name(db: Connection, name: str) -> Row | None:
    """Find a user; upper and lower case do not matter."""
    return db.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()


def user_by_password(db: Connection, name: str, password: str) -> Row | None:
    """Find the user whose name and password these are."""
    user = user_by_name(db, name)
    is_right = check_password_hash(user["password_hash"] if user else NOBODYS_HASH, password)
    return user if is_right else None


def user_by_session(db: Connection, user_id: int, session_key: str) -> Row | None:
    """Find the user of a session that is still valid."""
    return db.execute(
        "SELECT * FROM users WHERE id = ? AND session_key = ?", (user_id, session_key)
    ).fetchone()


def user_by_token(db: Connection, token: str) -> Row | None:
    """Find the user whose API token this is."""
    return db.execute(
        "SELECT users.* FROM tokens JOIN users ON users.id = tokens.user_id WHERE digest = ?",
        (digest(token),),
    ).fetchone()


def set_about(db: Connection, user_id: int, about: str) -> None:
    """Change what a user says about themselves."""
    with db:
        db.execute("UPDATE users SET about = ? WHERE id = ?", (about, user_id))


def set_password(db: Connection, user_id: int, password: str) -> Row:
    """Change a password, which ends every session of this user; return the user anew."""
    with db:
        changed = db.execute(
            "UPDATE users SET password_hash = ?, session_key = ? WHERE id = ? RETURNING *",
            (generate_password_hash(password), secrets.token_hex(16), user_id),
        )
        return changed.fetchone()


def add_token(db: Connection, user_id: int, label: str) -> str:
    """Make an API token and return it. Only its digest is kept: it cannot be shown again."""
    token = secrets.token_urlsafe(32)
    with db:
        db.execute(
            "INSERT INTO tokens (user_id, label, digest) VALUES (?, ?, ?)", (user_id, label, digest(token))
        )
    return token


def tokens_of(db: Connection, user_id: int) -> list[Row]:
    """List the API tokens of a user, newest first."""
    return db.execute("SELECT * FROM tokens WHERE user_id = ? ORDER BY id DESC", (user_id,)).fetchall()


def delete_token(db: Connection, user_id: int, token_id: int) -> bool:
    """Delete a token of this user; say if there was one."""
    with db:
        return (
            db.execute("DELETE FROM tokens WHERE id = ? AND user_id = ?", (token_id, user_id)).rowcount == 1
        )


def digest(token: str) -> str:
    """What is kept of a token. It is long and random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
