#!/usr/bin/env python3
"""Keeps a SQLite table of documents equal to what a feed in a Kafka topic says.

    discodiff refresh --dumps 2026-01 --state state --brokers kafka:9092 --feed kafka:discogs.changes
    pip install confluent-kafka
    python3 feed_consumer.py kafka:9092 discogs.changes documents.sqlite --once
    sqlite3 documents.sqlite "SELECT kind, count(*) FROM documents GROUP BY kind"

The last message of a key counts: a value is written, none is a delete. The offsets that come next stand in the same SQLite file and
are written in the same transactions as the documents, so this program may be stopped, or killed, and started again at any time.

A month is complete when each partition has given its marker {"complete": ...}; that is when this program says so. Feeds that were
named late begin with changes: fill the table from a store first, or begin the state anew with the feed.
"""

import argparse
import json
import sqlite3
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

BATCH = 1000


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("brokers", help="host:port, several of them separated by commas")
    arguments.add_argument("topic")
    arguments.add_argument("sqlite", help="file of the table; made where it is missing")
    arguments.add_argument("--once", action="store_true", help="end when all that is there was read")
    given = arguments.parse_args()

    # Transactions are begun and committed below, by hand.
    db = sqlite3.connect(given.sqlite, isolation_level=None)
    db.executescript(
        """
        CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, hash TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, id));
        CREATE TABLE IF NOT EXISTS offsets (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS complete (epoch INTEGER, partition INTEGER, PRIMARY KEY (epoch, partition));
        """
    )
    consumer = Consumer(
        {
            "bootstrap.servers": given.brokers,
            "group.id": "feed-consumer",
            "enable.auto.commit": False,
            # Without it, changes of transactions that were aborted would be seen.
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            # Documents of some megabytes are there.
            "fetch.message.max.bytes": 32 << 20,
        }
    )
    topic = consumer.list_topics(given.topic, timeout=10).topics[given.topic]
    if topic.error:
        sys.exit(f"{given.topic}: {topic.error}")
    reached = dict(db.execute("SELECT partition, next FROM offsets"))
    consumer.assign([TopicPartition(given.topic, at, reached.get(at, 0)) for at in topic.partitions])

    ended = set()
    while not (given.once and len(ended) == len(topic.partitions)):
        messages = consumer.consume(BATCH, timeout=1)
        if not messages:
            continue
        completed = []
        db.execute("BEGIN IMMEDIATE")
        for message in messages:
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                ended.add(message.partition())
                continue
            ended.discard(message.partition())
            take(db, message, len(topic.partitions), completed)
            db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (message.partition(), message.offset() + 1))
        db.execute("COMMIT")
        for end in completed:
            print(f"{end['snapshot']} is complete, epoch {end['complete']}: {end['records']}", flush=True)
    consumer.close()


def take(db, message, partitions, completed):
    """One message: a change, or a marker, which has no key."""
    if message.key() is None:
        marker = json.loads(message.value())
        if "gap" in marker:
            first, last = marker["gap"]
            print(f"partition {message.partition()}: changes of the epochs {first} to {last} are not here", file=sys.stderr)
        elif "dead_letter" in marker:
            letter = marker["dead_letter"]
            print(f"{letter['kind']} {letter.get('id', 'without an id')} was rejected, and stays as it was: {letter['reason']}", file=sys.stderr)
        elif "complete" in marker:
            db.execute("INSERT OR IGNORE INTO complete VALUES (?, ?)", (marker["complete"], message.partition()))
            (seen,) = db.execute("SELECT count(*) FROM complete WHERE epoch = ?", (marker["complete"],)).fetchone()
            if seen == partitions:
                completed.append(marker)
        return
    kind, id = message.key().decode().split("/")
    if message.value() is None:
        db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, id))
        return
    change = json.loads(message.value())
    row = (kind, id, change["hash"], json.dumps(change["document"], ensure_ascii=False, separators=(",", ":")))
    db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", row)


if __name__ == "__main__":
    main()
