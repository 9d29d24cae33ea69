#!/usr/bin/env python3
"""Runs one Cypher statement over HTTP, and prints its rows as JSON.  cypher.py STATEMENT [URL], by default DISCODIFF_TEST_NEO4J_HTTP"""
import base64, json, os, sys, urllib.parse, urllib.request

address = urllib.parse.urlsplit(sys.argv[2] if len(sys.argv) > 2 else os.environ["DISCODIFF_TEST_NEO4J_HTTP"])
secret = ":".join(urllib.parse.unquote(part or "") for part in (address.username, address.password))
request = urllib.request.Request(
    f"http://{address.hostname}:{address.port}/db/neo4j/tx/commit",
    json.dumps({"statements": [{"statement": sys.argv[1]}]}).encode(),
    {"Content-Type": "application/json", "Authorization": "Basic " + base64.b64encode(secret.encode()).decode()},
)
answer = json.load(urllib.request.urlopen(request, timeout=120))
if answer["errors"]:
    sys.exit(str(answer["errors"]))
print(json.dumps([row["row"] for row in answer["results"][0]["data"]]))
