//! Promises about documents, and real dumps read from end to end.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::document::{Stored, stored};

fn of(made: &Canonical) -> Stored {
    Stored { id: made.id, hash: made.hash, graph: made.graph }
}

fn made(kind: Kind, xml: &str) -> Canonical {
    let made = canonical(kind, xml.as_bytes(), &mut Vec::new(), |_| false).expect(xml);
    assert_eq!(stored(kind, &made.json), Ok(of(&made)), "{}", made.json);
    made
}

fn document(kind: Kind, xml: &str) -> Value {
    serde_json::from_str(&made(kind, xml).json).expect(xml)
}

fn failure(kind: Kind, xml: &[u8]) -> String {
    canonical(kind, xml, &mut Vec::new(), |_| false).expect_err("malformed")
}

fn artist(inner: &str) -> Value {
    document(Kind::Artist, &format!("<artist><id>1</id>{inner}</artist>"))
}

fn release(inner: &str) -> Value {
    document(Kind::Release, &format!("<release id=\"1\">{inner}</release>"))
}

#[test]
fn an_artist_s_fields_come_in_the_order_that_digests_are_taken_over() {
    let xml = r#"<artist><groups><name id="9">G</name></groups><members><id>26</id><name id="26">M</name></members>
        <aliases><name id="239">A</name></aliases><namevariations><name>N</name><name/></namevariations><urls><url>u</url></urls>
        <data_quality>Correct</data_quality><profile>p&#13;
q</profile><realname>R &amp; S</realname><name> X </name><id>01</id><images><image type="primary" uri="" uri150="" width="600" height="450"/></images></artist>"#;
    let expected = r#"{"id":"1","name":"X","realname":"R & S","profile":"p\nq","data_quality":"Correct","urls":["u"],"namevariations":["N"],"aliases":[{"id":"239","name":"A"}],"members":[{"id":"26","name":"M"}],"groups":[{"id":"9","name":"G"}],"images":[{"type":"primary","width":"600","height":"450"}]}"#;
    let made = made(Kind::Artist, xml);
    assert_eq!((&*made.json, made.id, made.unmapped.len()), (expected, 1, 0));
}

#[test]
fn members_are_pairs_and_nothing_of_them_is_lost() {
    let members = |inner: &str| artist(&format!("<members>{inner}</members>"))["members"].clone();
    let (one, two) = (json!({"id": "1", "name": "A"}), json!({"id": "2", "name": "B"}));
    assert_eq!(members(r#"<id>1</id><name id="1">A</name><id>2</id><name id="2">B</name>"#), json!([one, two]));
    assert_eq!(members(r#"<name id="1">A</name><name id="2">B</name>"#), json!([one, two]));
    assert_eq!(members("<id>1</id><name>A</name><id>2</id><name>B</name>"), json!([one, two]));
    assert_eq!(
        members(r#"<id>3</id><name id="1">A</name><id>4</id><id>2</id><name>B</name><id>5</id>"#),
        json!([{"id": "3"}, one, {"id": "4"}, two, {"id": "5"}])
    );
    assert_eq!(members(r#"<id>0</id><name id="0">A</name><name/>"#), json!([{"name": "A"}]));
}

#[test]
fn empty_elements_change_no_digest() {
    let full = made(Kind::Label, "<label><id>1</id><name>A</name></label>");
    let empty = made(
        Kind::Label,
        r#"<label><id>1</id><images/><name>A</name><profile> </profile><parentLabel id="0"/><sublabels><label/><label></label></sublabels><urls><url/></urls></label>"#,
    );
    assert_eq!((full.json, full.hash, full.graph), (empty.json, empty.hash, empty.graph));
}

#[test]
fn a_label_keeps_its_family() {
    let xml =
        r#"<label><id>1</id><parentLabel id="2">P</parentLabel><sublabels><label id="3">S</label><label id="4"/></sublabels></label>"#;
    assert_eq!(
        document(Kind::Label, xml),
        json!({"id": "1", "parentLabel": {"id": "2", "name": "P"}, "sublabels": [{"id": "3", "name": "S"}, {"id": "4"}]})
    );
}

#[test]
fn a_master_s_year_is_a_number_or_absent() {
    let year = |text: &str| document(Kind::Master, &format!("<master id='1'><year>{text}</year></master>"));
    assert_eq!(year("1999"), json!({"id": "1", "year": 1999}));
    assert_eq!(year("0"), json!({"id": "1"}));
    assert_eq!(year("1999?"), json!({"id": "1", "unmapped": {"year": ["1999?"]}}));
    assert_eq!(year("+5"), json!({"id": "1", "unmapped": {"year": ["+5"]}}));
}

#[test]
fn master_id_0_is_no_master() {
    assert_eq!(
        release(r#"<master_id is_main_release="true">12</master_id>"#),
        json!({"id": "1", "master_id": "12", "master_is_main_release": true})
    );
    assert_eq!(release(r#"<master_id is_main_release="false">0</master_id>"#), json!({"id": "1"}));
    assert_eq!(release(r#"<master_id is_main_release="false"/>"#), json!({"id": "1"}));
    let odd = release(r#"<master_id is_main_release="maybe">x</master_id><master_id is_main_release="true">5</master_id>"#);
    assert_eq!(
        odd,
        json!({"id": "1", "master_id": "5", "master_is_main_release": true, "unmapped": {"master_id": ["x"], "master_id@is_main_release": ["maybe"]}})
    );
    let twice = release("<master_id is_main_release='true'>5</master_id><master_id is_main_release='false'>6</master_id>");
    assert_eq!(twice["unmapped"], json!({"master_id": ["6"], "master_id@is_main_release": ["false"]}));
}

#[test]
fn a_release_s_year_comes_from_released() {
    assert_eq!(release("<released>1999-03-00</released>"), json!({"id": "1", "released": "1999-03-00", "year": 1999}));
    assert_eq!(release("<released>May 1999</released>"), json!({"id": "1", "released": "May 1999"}));
}

#[test]
fn every_element_and_attribute_of_a_release_has_its_field() {
    let xml = r#"<release id="7" status="Accepted"><images><image type="t" uri="u" uri150="v" width="1" height="2"/></images>
      <artists><artist><id>1</id><name>N</name><anv>V</anv><join>,</join><role>R</role><tracks>1 to 2</tracks></artist><artist><id>0</id></artist></artists>
      <title>T</title><labels><label name="L" catno="C" id="5"/><label name="L" catno="D" id="5"/></labels><series><series name="S" catno="" id="6"/></series>
      <extraartists><artist><name>X</name><role>Mixed By</role></artist></extraartists>
      <formats><format name="Vinyl" qty="0123456789" text="red"><descriptions><description>12"</description></descriptions></format></formats>
      <genres><genre>G</genre></genres><styles><style>Y</style></styles><country>UK</country><released>1999</released><notes>o</notes>
      <data_quality>Q</data_quality><master_id is_main_release="false">8</master_id>
      <tracklist><track><position>A</position><title>I</title><duration>1:00</duration><artists><artist><id>2</id></artist></artists>
        <extraartists><artist><id>3</id></artist></extraartists><sub_tracks><track><title>a</title><sub_tracks><track><title>b</title></track></sub_tracks></track></sub_tracks></track></tracklist>
      <identifiers><identifier type="Barcode" value="9" description="d"/></identifiers>
      <videos><video src="s" duration="5" embed="true"><title>vt</title><description> </description></video></videos>
      <companies><company><id>4</id><name>K</name><catno>k</catno><entity_type>23</entity_type><entity_type_name>At</entity_type_name><resource_url>r</resource_url></company></companies></release>"#;
    let expected = concat!(
        r#"{"id":"7","status":"Accepted","title":"T","released":"1999","year":1999,"country":"UK","notes":"o","data_quality":"Q","master_id":"8","master_is_main_release":false,"#,
        r#""artists":[{"id":"1","name":"N","anv":"V","join":",","role":"R","tracks":"1 to 2"}],"extraartists":[{"name":"X","role":"Mixed By"}],"#,
        r#""labels":[{"id":"5","name":"L","catno":"C"},{"id":"5","name":"L","catno":"D"}],"series":[{"id":"6","name":"S"}],"#,
        r#""formats":[{"name":"Vinyl","qty":"0123456789","text":"red","descriptions":["12\""]}],"genres":["G"],"styles":["Y"],"#,
        r#""tracklist":[{"position":"A","title":"I","duration":"1:00","artists":[{"id":"2"}],"extraartists":[{"id":"3"}],"sub_tracks":[{"title":"a","sub_tracks":[{"title":"b"}]}]}],"#,
        r#""identifiers":[{"type":"Barcode","value":"9","description":"d"}],"#,
        r#""companies":[{"id":"4","name":"K","catno":"k","entity_type":"23","entity_type_name":"At","resource_url":"r"}],"#,
        r#""videos":[{"src":"s","duration":"5","embed":"true","title":"vt"}],"images":[{"type":"t","uri":"u","uri150":"v","width":"1","height":"2"}]}"#
    );
    let made = made(Kind::Release, xml);
    assert_eq!(&*made.json, expected);
    assert_eq!(made.unmapped, Vec::<String>::new());
}

#[test]
fn what_no_field_is_there_for_is_kept_and_reported() {
    let xml = r#"<release id="1" z="q"><foo/><foo>a &amp; b</foo><foo k="v">t<b>1</b><b/><b c="2"/>u</foo>
        <artists>stray &lt;<artist new="n"><id>x</id><mbid>m</mbid></artist></artists><title lang="en">T<i>U</i></title><title>V</title>
        <tracklist><track><foo>deep</foo></track></tracklist><labels><label id="none" name="L"/></labels></release>"#;
    let made = made(Kind::Release, xml);
    let expected = json!({"id": "1", "title": "T", "labels": [{"name": "L"}], "unmapped": {
        "@z": ["q"], "artists#text": ["stray <"], "artists/artist/id": ["x"], "artists/artist/mbid": ["m"], "artists/artist@new": ["n"],
        "foo": ["a & b", {"#text": "tu", "@k": "v", "b": ["1", {"@c": "2"}]}], "labels/label@id": ["none"], "title": ["V"], "title/i": ["U"],
        "title@lang": ["en"], "tracklist/track/foo": ["deep"]}});
    assert_eq!(serde_json::from_str::<Value>(&made.json).expect("JSON"), expected);
    let mut paths = made.unmapped.clone();
    paths.sort();
    let drift = [
        "@z",
        "artists#text",
        "artists/artist/id",
        "artists/artist/mbid",
        "artists/artist@new",
        "foo",
        "foo",
        "foo",
        "labels/label@id",
        "title",
        "title/i",
        "title@lang",
        "tracklist/track/foo",
    ];
    assert_eq!(paths, drift);
    assert!(made.json.contains(r##""foo":["a & b",{"#text":"tu","@k":"v","b":["1",{"@c":"2"}]}]"##), "{}", made.json);
}

#[test]
fn references_cdata_and_lone_ampersands_are_text() {
    let made = made(
        Kind::Artist,
        "<artist><id>1</id><name>R&B <!-- x -->&amp; <![CDATA[<b> & &amp;]]>\u{1}&nbsp;</name><profile>a&#0;&</profile></artist>",
    );
    assert_eq!(&*made.json, "{\"id\":\"1\",\"name\":\"R&B & <b> & &amp;&nbsp;\",\"profile\":\"a&\"}");
    assert_eq!((made.removed_characters, made.lone_ampersands, made.unmapped.len()), (2, 3, 0));
}

#[test]
fn what_is_malformed_is_said_in_words() {
    assert_eq!(failure(Kind::Artist, b"<artist><id>1</id><name>\xff</name></artist>"), "not UTF-8 at byte 24");
    assert!(failure(Kind::Artist, b"<artist><id>1</id></x></artist>").starts_with("malformed XML at byte 18: "));
    assert!(failure(Kind::Artist, b"<artist><id>1</id><name>x</artist>").starts_with("malformed XML at byte 25: "));
    assert_eq!(failure(Kind::Artist, b"<artist><id>1</id><name>x"), "it ends inside <name>, which begins at byte 18");
    assert!(failure(Kind::Artist, b"<artist><id>1</id><na").starts_with("malformed XML at byte 18: "));
    assert_eq!(failure(Kind::Artist, b"<artist><id>1</id></artist><artist>"), "something follows its end tag at byte 27");
    assert_eq!(failure(Kind::Artist, b"<label><id>1</id></label>"), "it does not begin with <artist>, but with <label>");
    assert_eq!(failure(Kind::Artist, b"<artist><name>x</name></artist>"), "it has no id");
    assert_eq!(failure(Kind::Artist, b"<artist><id>99999999999999999999</id></artist>"), "its id 99999999999999999999 is too large");
    assert_eq!(failure(Kind::Artist, b"<artist><id>6</id><id>06</id><id>7</id></artist>"), "its id reads as 6 and as 7");
    assert_eq!(failure(Kind::Release, b"<release id=1/>"), "malformed attributes of <release> at byte 0");
    assert_eq!(failure(Kind::Release, b"<release id='1' id='2'/>"), "<release> at byte 0 has the attribute id twice");
    assert_eq!(failure(Kind::Release, b"<release id='1'><title<b>x</title<b></release>"), "malformed XML at byte 16: not a tag");
    assert_eq!(failure(Kind::Release, b""), "it does not begin with <release>");
    let deep = format!("<release id='1'>{}{}</release>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert!(failure(Kind::Release, deep.as_bytes()).starts_with("elements nest more than 48 deep"));
}

#[test]
fn the_deepest_document_that_is_made_can_be_read_again() {
    let elements = |open: &str, close: &str, n: usize| format!("<release id='1'>{}x{}</release>", open.repeat(n), close.repeat(n));
    made(Kind::Release, &elements("<a b='c'>", "</a>", 47));
    made(
        Kind::Release,
        &format!(
            "<release id='1'><tracklist>{}</tracklist></release>",
            elements("<track><sub_tracks>", "</sub_tracks></track>", 22)
                .replace("<release id='1'>", "")
                .replace("x", "<track><title>x</title></track>")
                .replace("</release>", "")
        ),
    );
}

#[test]
fn videos_do_not_touch_the_graph_and_what_it_holds_does() {
    let graph = |inner: &str| made(Kind::Release, &format!("<release id='1'>{inner}</release>")).graph;
    let same = [
        "",
        "<videos><video src='x'/></videos>",
        "<notes>x</notes>",
        "<country>UK</country>",
        "<extraartists><artist><role>x</role></artist></extraartists>",
    ]
    .map(graph);
    assert!(same.iter().all(|digest| *digest == same[0]));
    let differ = [
        "",
        "<title>x</title>",
        "<released>1999</released>",
        "<artists><artist><id>2</id></artist></artists>",
        "<genres><genre>x</genre></genres>",
        "<styles><style>x</style></styles>",
        "<labels><label id='1' catno='x'/></labels>",
        "<labels><label id='1'/></labels>",
        "<master_id>3</master_id>",
        "<formats><format name='x'/></formats>",
        "<extraartists><artist><name>x</name></artist></extraartists>",
        "<extraartists><artist><name>x</name><role>x</role></artist></extraartists>",
    ]
    .map(graph);
    let distinct: std::collections::BTreeSet<Digest> = differ.into_iter().collect();
    assert_eq!(distinct.len(), differ.len());
}

/// A real dump, decompressed; `None`, said, where it is not there.
fn real(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("DISCODIFF_REAL_DUMPS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/dumps")), PathBuf::from);
    let path = folder.join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    Some(bytes.into())
}

/// Keys turned over as PostgreSQL's jsonb may do.
fn reordered(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: Vec<_> =
                map.iter().rev().map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), reordered(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(reordered).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}

fn read_real(kind: Kind, name: &str, whole: usize, rejected: usize) {
    let Some(file) = real(name) else { return };
    let mut splitter = Splitter::new(kind);
    let mut records = Vec::new();
    for at in (0..file.len()).step_by(64 << 10) {
        splitter.feed(file.slice(at..file.len().min(at + (64 << 10))), &mut records);
    }
    let ending = splitter.finish(None, &mut records);
    assert_eq!(ending.defect.is_some(), rejected > 0, "{name}: {ending:?}");
    let (good, bad): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.defect.is_none());
    assert_eq!((good.len(), bad.len()), (whole, rejected), "{name}");
    let (mut scratch, mut drift, mut ids) = (Vec::new(), BTreeMap::<String, u32>::new(), Vec::new());
    for record in good {
        let made =
            canonical(kind, &record.raw, &mut scratch, |_| false).unwrap_or_else(|error| panic!("{name} at {}: {error}", record.position));
        assert_eq!(Some(made.id), record.key.map(|key| key.id()));
        assert_eq!(stored(kind, &made.json), Ok(of(&made)));
        let value = serde_json::from_str(&made.json).expect("JSON");
        assert_eq!(stored(kind, &reordered(&value)), Ok(of(&made)));
        assert_eq!((made.removed_characters, made.lone_ampersands), (0, 0), "{name}: {}", made.id);
        for path in made.unmapped {
            *drift.entry(path).or_default() += 1;
        }
        ids.push(made.id);
    }
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] < pair[1]), "{name}: ids rise");
    assert_eq!(drift, BTreeMap::new(), "{name}");
}

#[test]
fn real_dumps_of_2020_are_read_whole() {
    for kind in Kind::ALL {
        read_real(kind, &format!("real/2020-08/discogs_20200801_{}.xml.gz", kind.plural()), 1000, 0);
    }
}

#[test]
fn real_masters_of_2025_are_read_whole() {
    read_real(Kind::Master, "real/2025-11/discogs_20251101_masters.xml.gz", 3267, 0);
    read_real(Kind::Master, "real/2025-12/discogs_20251201_masters.xml.gz", 5868, 0);
}

#[test]
fn real_releases_of_2025_are_read_whole() {
    read_real(Kind::Release, "real/2025-11/discogs_20251101_releases.xml.gz", 4229, 0);
}

#[test]
fn a_real_truncated_dump_loses_its_last_record_and_is_not_whole() {
    read_real(Kind::Release, "truncated/discogs_20251101_releases.xml.gz", 4229, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic_and_what_is_made_can_be_read_again(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<", ">", "</", "/>", "<K>", "</K>", "<id>", "</id>", "<id>3</id>", "<name>", "</name>", "<name id='4'>", "<artists>", "</artists>", "<artist>",
            "</artist>", "<year>", "</year>", "<x>", "</x>", "<x y='", "'", "\"", "=", " ", "\n", "é", "&", "&amp;", "&#1;", "<!--", "-->", "<![CDATA[", "]]>",
            "<?", "?>", "<!DOCTYPE", "1", "0", "\u{1}", "<members>", "</members>", "<master_id>", "</master_id>", "<title/>", "<title>a</title>",
        ]), 0..16)
    ) {
        let xml = format!("<{kind} id='1'><id>1</id>{}</{kind}>", pieces.concat().replace('K', kind.name()));
        let mut splitter = Splitter::new(kind);
        let mut records = Vec::new();
        splitter.feed(Bytes::from(format!("<{}>\n{xml}\n</{}>", kind.plural(), kind.plural())), &mut records);
        splitter.finish(None, &mut records);
        for record in records {
            if let Ok(made) = canonical(kind, &record.raw, &mut Vec::new(), |_| false) {
                prop_assert_eq!(stored(kind, &made.json), Ok(of(&made)), "{}", xml);
                prop_assert!(record.key.is_none_or(|key| key.id() == made.id), "{}", xml);
            }
        }
    }
}
