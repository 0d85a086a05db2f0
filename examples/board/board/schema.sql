-- The whole database. It is applied at every start, so each statement says IF NOT EXISTS.
-- AUTOINCREMENT: the id of something deleted never comes back, so no old link leads to something else.
-- Times are UTC, as text that sorts: 2026-03-14T09:26:53Z.

CREATE TABLE IF NOT EXISTS users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    session_key   TEXT NOT NULL,  -- changes with the password: every other session ends
    about         TEXT NOT NULL DEFAULT '',
    joined_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE TABLE IF NOT EXISTS tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    label      TEXT NOT NULL,
    digest     TEXT NOT NULL UNIQUE,  -- SHA-256: who reads this table cannot use the API
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE TABLE IF NOT EXISTS topics (
    id         INTEGER PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    about      TEXT NOT NULL,
    post_count INTEGER NOT NULL DEFAULT 0
);

INSERT OR IGNORE INTO topics (id, slug, name, about) VALUES
    (1, 'beer',       'Beer',              'From grain to glass'),
    (2, 'cider-wine', 'Cider and wine',    'Apples, grapes, elderflower, patience'),
    (3, 'bread',      'Bread',             'Starters, flour, hot ovens'),
    (4, 'vegetables', 'Jars and crocks',   'Kimchi, kraut, pickles, miso'),
    (5, 'equipment',  'Equipment',         'Bottles, bungs, thermometers, repairs'),
    (6, 'table',      'The long table',    'Everything else, and hello');

CREATE TABLE IF NOT EXISTS posts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    author_id      INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    topic_id       INTEGER NOT NULL REFERENCES topics,
    title          TEXT NOT NULL,
    body           TEXT NOT NULL,
    picture        TEXT,  -- name of its files in DATA/pictures, without the ending
    picture_alt    TEXT NOT NULL DEFAULT '',
    picture_width  INTEGER,
    picture_height INTEGER,
    comment_count  INTEGER NOT NULL DEFAULT 0,
    created_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    edited_at      TEXT,
    active_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))  -- newest comment, or the post
);
CREATE INDEX IF NOT EXISTS posts_by_activity ON posts (active_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS posts_by_topic ON posts (topic_id, active_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS posts_by_author ON posts (author_id, active_at DESC, id DESC);

CREATE TABLE IF NOT EXISTS comments (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    post_id    INTEGER NOT NULL REFERENCES posts ON DELETE CASCADE,
    author_id  INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
CREATE INDEX IF NOT EXISTS comments_by_post ON comments (post_id, id);
CREATE INDEX IF NOT EXISTS comments_by_author ON comments (author_id);

-- Counts are kept, not counted: the front page costs the same with ten posts and with a million.

CREATE TRIGGER IF NOT EXISTS post_arrives AFTER INSERT ON posts BEGIN
    UPDATE topics SET post_count = post_count + 1 WHERE id = new.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS post_leaves AFTER DELETE ON posts BEGIN
    UPDATE topics SET post_count = post_count - 1 WHERE id = old.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS post_moves AFTER UPDATE OF topic_id ON posts BEGIN
    UPDATE topics SET post_count = post_count - 1 WHERE id = old.topic_id;
    UPDATE topics SET post_count = post_count + 1 WHERE id = new.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS comment_arrives AFTER INSERT ON comments BEGIN
    UPDATE posts SET comment_count = comment_count + 1, active_at = max(active_at, new.created_at)
    WHERE id = new.post_id;
END;
CREATE TRIGGER IF NOT EXISTS comment_leaves AFTER DELETE ON comments BEGIN
    UPDATE posts SET comment_count = comment_count - 1 WHERE id = old.post_id;
END;

-- Search: an index over title and body that holds no text of its own.

CREATE VIRTUAL TABLE IF NOT EXISTS posts_index USING fts5 (
    title, body, content='posts', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS post_indexed AFTER INSERT ON posts BEGIN
    INSERT INTO posts_index (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
CREATE TRIGGER IF NOT EXISTS post_unindexed AFTER DELETE ON posts BEGIN
    INSERT INTO posts_index (posts_index, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
END;
CREATE TRIGGER IF NOT EXISTS post_reindexed AFTER UPDATE OF title, body ON posts BEGIN
    INSERT INTO posts_index (posts_index, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
    INSERT INTO posts_index (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
