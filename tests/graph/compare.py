#!/usr/bin/env python3
"""Compares the graph in a Neo4j with what the dumps of one month say, from end to end. Shares no code with the program.

  compare.py --dumps DIR --http http://USER:PASSWORD@HOST:PORT     all nodes and relationships, with all properties, both ways
  compare.py --save FILE                                           writes the graph, sorted, one line a node or relationship
  compare.py --against FILE                                        compares it with such a file, the program's hashes included
--http is DISCODIFF_TEST_NEO4J_HTTP where it is not given. The exit status is 0 when equal, 1 when not, 2 when it could not be told.

The graph: (:Artist {id, name}), (:Label {id, name}), (:Master {id, title, year}), (:Release {id, title, year, formats, catalog_number}),
(:Genre {name}), (:Style {name}), (:Person {name}); a record has `hash` too, which is the program's own: with dumps only its form is
checked. What is absent is no property. Ids are texts of digits. An end of a relationship that is not in the dumps is a stub: {id, stub}.
  (Release|Master)-[:BY]->(Artist)                 (Artist)-[:MEMBER_OF|ALIAS_OF]->(Artist)     members, groups; aliases
  (Release|Master)-[:IS]->(Genre|Style)            (Label)-[:SUBLABEL_OF]->(Label)              parentLabel, sublabels
  (Release)-[:ON {catno}]->(Label)                 (Style)-[:PART_OF]->(Genre)                  of records with exactly one genre
  (Release)-[:DERIVED_FROM]->(Master)              (Person)-[:CREDITED_ON {role, category}]->(Release), (Person)-[:SAME_AS]->(Artist)
Each (source, type, target, properties) is there once; Genre, Style, Person and stubs only while something is related to them. The
category of a credit comes from src/model/graph/roles.tsv. Nodes whose label begins with Discodiff are the program's bookkeeping.
"""
import argparse, base64, collections, glob, gzip, json, os, re, sys, urllib.error, urllib.parse, urllib.request, zlib
import xml.etree.ElementTree as ET

ROLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/model/graph/roles.tsv")
KINDS = ("artist", "label", "master", "release")
RECORDS = {kind.capitalize() for kind in KINDS}
LARGEST_ID = 2**56 - 1
HASH = re.compile(r"c\d+r\d+-[0-9a-f]{32}")
SHOWN = 20
PAGE = 50_000


class Trouble(Exception):
    """Why the question cannot be answered."""


# ---------------------------------------------------------------- a graph as text

def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class Graph:
    """Nodes by what identifies them, `Artist "1"`, each with the texts of its properties (one, unless there are several such nodes);
    relationships as texts `SOURCE -[TYPE PROPERTIES]-> TARGET`, each with how often it is there."""

    def __init__(self):
        self.nodes = collections.defaultdict(list)
        self.edges = collections.Counter()

    def edge(self, source, relation, target, **properties):
        self.edges[f"{source} -[{relation} {canonical(properties)}]-> {target}"] += 1

    def lines(self):
        yield from sorted(f"node {name}\t{properties}" for name, all in self.nodes.items() for properties in all)
        yield from sorted(f"edge {edge}" for edge in self.edges.elements())

    @staticmethod
    def read(path):
        graph = Graph()
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                what, _, rest = line.rstrip("\n").partition(" ")
                if what == "node":
                    name, _, properties = rest.partition("\t")
                    graph.nodes[name].append(properties)
                elif what == "edge":
                    graph.edges[rest] += 1
                else:
                    raise Trouble(f"{path} was not written by --save")
        return graph


# ---------------------------------------------------------------- what the dumps say

REFERENCE = re.compile("&(?:(amp|lt|gt|quot|apos)|#([0-9]+)|#x([0-9a-fA-F]+));|&")
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
QUOTED_WITH_SPACE = re.compile('"[^"<]*[\t\n\r][^"<]*"')
SPACE = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def mended(text):
    """What a parser would refuse is removed or taken as itself, and white space is kept from being altered in attributes (where it stands
    between quotes in a text, it says the same afterwards)."""

    def reference(match):
        name, decimal, hexadecimal = match.groups()
        if name:
            return match[0]
        if decimal or hexadecimal:
            code = int(decimal) if decimal else int(hexadecimal, 16)
            return "" if code > sys.maxunicode or FORBIDDEN.match(chr(code)) else match[0]
        return "&amp;"

    text = FORBIDDEN.sub("", text)
    if "&" in text:
        text = REFERENCE.sub(reference, text)
    return QUOTED_WITH_SPACE.sub(lambda match: re.sub("[\t\n\r]", lambda space: SPACE[space[0]], match[0]), text)


def records(path):
    """The children of the root element, one after the other."""
    parser = ET.XMLPullParser(("start", "end"))
    depth, root, rest = 0, None, ""
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8", newline="") as file:
            while True:
                chunk = file.read(1 << 18)
                rest += chunk
                # Before the last tag begins nothing is cut that belongs together.
                cut = rest.rfind("<") if chunk else len(rest)
                if cut > 0:
                    parser.feed(mended(rest[:cut]))
                    rest = rest[cut:]
                for event, element in parser.read_events():
                    if event == "start":
                        depth += 1
                        root = element if root is None else root
                    else:
                        depth -= 1
                        if depth == 1:
                            yield element
                            root.clear()
                if not chunk:
                    break
        parser.close()
    except (ET.ParseError, EOFError, OSError, UnicodeError, zlib.error) as error:
        raise Trouble(f"{path}: {error}") from error


def clean(text):
    """A text as the graph holds it; empty where that is nothing."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").strip(" \t\n\r")


def own_text(element):
    return clean("".join([element.text or ""] + [child.tail or "" for child in element]))


def id_of(text):
    """The id that a text is; empty where it is none."""
    number = int(text) if re.fullmatch("0*[0-9]{1,17}", text) else 0
    return str(number) if 0 < number <= LARGEST_ID else ""


def within(record, *path):
    """All elements at the end of a path of names."""
    elements = [record]
    for name in path:
        elements = [child for element in elements for child in element if child.tag == name]
    return elements


def texts(record, *path):
    return [text for text in map(own_text, within(record, *path)) if text]


def first(values):
    return next((value for value in values if value), None)


def present(**properties):
    return {name: value for name, value in properties.items() if value not in (None, "", [])}


def name_of(label, key):
    return f"{label} {canonical(key)}"


def categories():
    found = {}
    with open(ROLES, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                fragment, category = line.rstrip("\n").split("\t")
                found[fragment] = category
    order = sorted(found, key=lambda fragment: (-len(fragment.encode()), fragment.encode()))
    cache = {}

    def category(role):
        if role not in cache:
            lower = role.lower()
            cache[role] = next((found[fragment] for fragment in order if fragment in lower), "other")
        return cache[role]

    return category


class Expected:
    """Gathers what records say."""

    def __init__(self):
        self.properties = {}  # name of a node -> its properties
        self.edges = {}       # source, type, target, text of the properties -> the properties
        self.category = categories()

    def node(self, label, name):
        self.properties.setdefault(name_of(label, name), {"name": name})
        return name_of(label, name)

    def edge(self, source, relation, target, **properties):
        self.edges.setdefault((source, relation, target, canonical(properties)), properties)

    def artist(self, this, record):
        for list, both in (("members", lambda it: (it, this)), ("groups", lambda it: (this, it)), ("aliases", lambda it: (it, this))):
            named = [clean(element.get("id")) for element in within(record, list, "name")]
            for id in filter(None, map(id_of, named + texts(record, list, "id"))):
                source, target = both(name_of("Artist", id))
                self.edge(source, "ALIAS_OF" if list == "aliases" else "MEMBER_OF", target)
        return present(name=first(texts(record, "name")))

    def label(self, this, record):
        parent = first([element] for element in within(record, "parentLabel") if clean(element.get("id")) or own_text(element))
        for element in parent or []:
            if id := id_of(clean(element.get("id"))):
                self.edge(this, "SUBLABEL_OF", name_of("Label", id))
        for element in within(record, "sublabels", "label"):
            if id := id_of(clean(element.get("id"))):
                self.edge(name_of("Label", id), "SUBLABEL_OF", this)
        return present(name=first(texts(record, "name")))

    def what_releases_and_masters_share(self, this, record):
        for id in filter(None, map(id_of, texts(record, "artists", "artist", "id"))):
            self.edge(this, "BY", name_of("Artist", id))
        genres = {self.node("Genre", genre) for genre in texts(record, "genres", "genre")}
        styles = {self.node("Style", style) for style in texts(record, "styles", "style")}
        for tag in genres | styles:
            self.edge(this, "IS", tag)
        if len(genres) == 1:
            for style in styles:
                self.edge(style, "PART_OF", *genres)

    def master(self, this, record):
        self.what_releases_and_masters_share(this, record)
        years = [int(text) for text in texts(record, "year") if re.fullmatch("0*[0-9]{1,10}", text)]
        return present(title=first(texts(record, "title")), year=first(year for year in years if year < 2**32))

    def release(self, this, record):
        self.what_releases_and_masters_share(this, record)
        if id := first(map(id_of, texts(record, "master_id"))):
            self.edge(this, "DERIVED_FROM", name_of("Master", id))
        labels = [{key: clean(element.get(key)) for key in ("id", "name", "catno")} for element in within(record, "labels", "label")]
        labels = [label for label in labels if any(label.values())]
        for label in labels:
            if id := id_of(label["id"]):
                self.edge(this, "ON", name_of("Label", id), **present(catno=label["catno"]))
        for credit in within(record, "extraartists", "artist"):
            if name := first(texts(credit, "name")):
                person, role = self.node("Person", name), first(texts(credit, "role"))
                self.edge(person, "CREDITED_ON", this, **present(role=role, category=self.category(role or "")))
                if id := first(map(id_of, texts(credit, "id"))):
                    self.edge(person, "SAME_AS", name_of("Artist", id))
        year = re.match("([0-9]{4})(?![0-9])", first(texts(record, "released")) or "")
        formats = [clean(element.get("name")) for element in within(record, "formats", "format")]
        return present(title=first(texts(record, "title")), year=int(year[1]) if year and year[1] != "0000" else None,
                       formats=[name for name in formats if name], catalog_number=labels[0]["catno"] if labels else None)

    def graph(self):
        graph = Graph()
        for name, properties in self.properties.items():
            graph.nodes[name].append(canonical(properties))
        for source, relation, target, _ in self.edges:
            for end in (source, target):
                if end not in graph.nodes:
                    graph.nodes[end].append(canonical({"id": json.loads(end.partition(" ")[2]), "stub": True}))
        for (source, relation, target, _), properties in self.edges.items():
            graph.edge(source, relation, target, **properties)
        return graph


def expected(folder):
    """All that the dumps in a folder say."""
    found = Expected()
    for kind in KINDS:
        paths = [path for end in ("xml", "xml.gz") for path in glob.glob(f"{glob.escape(folder)}/discogs_*_{kind}s.{end}")]
        if len(paths) > 1:
            raise Trouble(f"{folder} holds several dumps of {kind}s: {' '.join(sorted(paths))}")
        for record in (record for path in paths for record in records(path) if record.tag == kind):
            own = [clean(record.get("id"))] if kind in ("master", "release") else texts(record, "id")
            id = first(map(id_of, own))
            name = name_of(kind.capitalize(), id)
            # The first record of a key counts.
            if id and name not in found.properties:
                found.properties[name] = {"id": id, **getattr(found, kind)(name, record)}
    if not found.properties:
        raise Trouble(f"{folder} holds no dumps")
    return found.graph()


# ---------------------------------------------------------------- what the server says

class Server:
    def __init__(self, address):
        parts = urllib.parse.urlsplit(address)
        self.url = f"{parts.scheme}://{parts.hostname}:{parts.port}/db/neo4j/tx/commit"
        user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        self.headers = {"Content-Type": "application/json", "Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    def rows(self, statement, **parameters):
        body = json.dumps({"statements": [{"statement": statement, "parameters": parameters, "resultDataContents": ["row"]}]})
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, body.encode(), self.headers)) as response:
                answer = json.load(response)
        except (urllib.error.URLError, OSError) as error:
            raise Trouble(f"{self.url}: {error}") from error
        if answer["errors"]:
            raise Trouble(f"{answer['errors'][0]['code']}: {answer['errors'][0]['message']}")
        return [data["row"] for data in answer["results"][0]["data"]]

    def pages(self, statement):
        """The rows of a statement that begin with a number, by which they are sorted and cut into pages."""
        last = -1
        while page := self.rows(statement, last=last, page=PAGE):
            yield from page
            last = page[-1][0]


def actual(server, wrong):
    """The graph as it is; what is wrong with it in itself is told to `wrong`."""
    graph, names, labelled, lonely, own = Graph(), {}, {}, set(), set()
    for number, labels, properties in server.pages(
            "MATCH (n) WHERE id(n) > $last RETURN id(n), labels(n), properties(n) ORDER BY id(n) LIMIT $page"):
        label = ":".join(sorted(labels))
        # Names of texts, so that the number 1 and the text "1" are two.
        key = next((properties[key] for key in ("id", "name") if key in properties), None)
        name = names[number] = name_of(label, key)
        if any(label.startswith("Discodiff") for label in labels):
            own.add(number)
            continue
        text = canonical(properties)
        graph.nodes[name].append(text)
        if key in (None, "", "0", 0):
            wrong(f"{label} without an id or name, or with 0", f"{name} {text}")
        if label in ("Genre", "Style", "Person") or "stub" in properties:
            lonely.add(number)
        elif label in RECORDS and not (isinstance(properties.get("hash"), str) and HASH.fullmatch(properties["hash"])):
            wrong(f"{label} without a hash of the right form", f"{name} {text}")
    for _, source, relation, target, properties in server.pages(
            "MATCH (a)-[r]->(b) WHERE id(r) > $last RETURN id(r), id(a), type(r), id(b), properties(r) ORDER BY id(r) LIMIT $page"):
        if source not in names or target not in names:
            raise Trouble("the graph was altered while it was read")
        graph.edge(names[source], relation, names[target], **properties)
        lonely -= {source, target}
        if own & {source, target}:
            wrong("bookkeeping with a relationship", f"{names[source]} -[{relation}]-> {names[target]}")
    for number in sorted(lonely):
        label = names[number].partition(" ")[0]
        wrong(f"{label if label not in RECORDS else 'stub of ' + label} without a relationship", names[number])
    for name, all in graph.nodes.items():
        if len(all) > 1:
            wrong(f"{name.partition(' ')[0]} more than once", f"{name}, {len(all)} times")
    for edge, times in graph.edges.items():
        if times > 1:
            wrong(f"{relation_of(edge)} more than once", f"{edge}, {times} times")
    return graph


# ---------------------------------------------------------------- differences

EDGE = re.compile(r'(?:[^"]|"(?:[^"\\]|\\.)*")*? -\[(\S+) ')


def relation_of(edge):
    return EDGE.match(edge)[1]


def without_hash(graph):
    """The same, records without their hash."""
    result = Graph()
    result.edges = graph.edges
    for name, all in graph.nodes.items():
        if name.partition(" ")[0] in RECORDS:
            all = [json.loads(properties) for properties in all]
            all = [canonical(node if node.get("stub") else {key: node[key] for key in node if key != "hash"}) for node in all]
        result.nodes[name] = all
    return result


def differences(is_there, due, wrong, by):
    for name in sorted(due.nodes.keys() | is_there.nodes.keys()):
        label = name.partition(" ")[0]
        left, right = due.nodes.get(name, []), is_there.nodes.get(name, [])
        if not right:
            wrong(f"by {by}, {label} missing", f"{name} {' '.join(left)}")
        elif not left:
            wrong(f"by {by}, {label} too many", f"{name} {' '.join(right)}")
        elif sorted(left) != sorted(right):
            wrong(f"by {by}, {label} with other properties", f"{name}\n    due {' '.join(left)}\n    is  {' '.join(right)}")
    # One that is there twice was told of already.
    for edge in sorted(due.edges.keys() - is_there.edges.keys()):
        wrong(f"by {by}, {relation_of(edge)} missing", edge)
    for edge in sorted(is_there.edges.keys() - due.edges.keys()):
        wrong(f"by {by}, {relation_of(edge)} too many", edge)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dumps", metavar="DIR", help="a folder with one month's discogs_YYYYMM01_KINDs.xml.gz or .xml")
    parser.add_argument("--http", metavar="URL", default=os.environ.get("DISCODIFF_TEST_NEO4J_HTTP"))
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--against", metavar="FILE")
    options = parser.parse_args()
    if not options.http:
        parser.error("--http or DISCODIFF_TEST_NEO4J_HTTP is needed")
    found = collections.defaultdict(list)
    wrong = lambda what, which: found[what].append(which)

    graph = actual(Server(options.http), wrong)
    if options.dumps:
        differences(without_hash(graph), expected(options.dumps), wrong, "the dumps")
    if options.against:
        differences(graph, Graph.read(options.against), wrong, "the file")
    if options.save:
        with open(options.save, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in graph.lines())

    for what, which in found.items():
        print(f"{what}: {len(which)}")
        for one in which[:SHOWN]:
            print(f"  {one}")
        if len(which) > SHOWN:
            print(f"  and {len(which) - SHOWN} more")
    size = f"{sum(map(len, graph.nodes.values()))} nodes, {sum(graph.edges.values())} relationships"
    print(f"different: {sum(map(len, found.values()))} differences; {size}" if found else f"equal: {size}")
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"compare.py: {trouble}", file=sys.stderr)
        sys.exit(2)
