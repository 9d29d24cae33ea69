//! One test a way in which dumps are broken, and the splitter against a slow, obvious one.

use proptest::prelude::*;

use super::*;

fn split_in(kind: Kind, chunks: impl IntoIterator<Item = Bytes>, limits: (usize, usize), truncated: Option<&str>) -> (Vec<Record>, Ending) {
    let mut splitter = Splitter::with_limits(kind, limits.0, limits.1);
    let mut records = Vec::new();
    for chunk in chunks {
        splitter.feed(chunk, &mut records);
    }
    let ending = splitter.finish(truncated.map(str::to_owned), &mut records);
    assert_eq!(ending.records, records.len() as u64);
    (records, ending)
}

fn split(kind: Kind, file: &str) -> (Vec<Record>, Ending) {
    split_in(kind, [Bytes::copy_from_slice(file.as_bytes())], (LONGEST_RECORD, KEPT_OF_TOO_LONG), None)
}

/// (id, raw, defect) of each record, and the file's defect.
type Said = (Vec<(Option<u64>, String, Option<String>)>, Option<String>);

fn said(kind: Kind, file: &str) -> Said {
    let (records, ending) = split(kind, file);
    for record in &records {
        assert!(file.as_bytes()[record.position as usize..].starts_with(&record.raw));
        assert_eq!(record.hash, xxh3_64(&record.raw));
    }
    let text = |record: Record| (record.key.map(Key::id), String::from_utf8_lossy(&record.raw).into_owned(), record.defect);
    (records.into_iter().map(text).collect(), ending.defect)
}

fn good(id: u64, raw: &str) -> (Option<u64>, String, Option<String>) {
    (Some(id), raw.to_owned(), None)
}

fn bad(id: impl Into<Option<u64>>, raw: &str, defect: &str) -> (Option<u64>, String, Option<String>) {
    (id.into(), raw.to_owned(), Some(defect.to_owned()))
}

const NEXT: &str = "cut short: the next record begins before its end tag";

#[test]
fn records_are_the_root_level_elements() {
    let nested = r#"<label><id>1</id><sublabels><label id="2">x</label><label/><label id='3>'/></sublabels></label>"#;
    let file = format!(
        "\u{FEFF}<?xml version='1.0'?>\n<!-- <labels> -->\n<labels a='>'>\n{nested}<label><id>2</id></label >\n <label><id>3</id></label>\n</labels >\n<!-- x -->\n"
    );
    let expected = vec![good(1, nested), good(2, "<label><id>2</id></label >"), good(3, "<label><id>3</id></label>")];
    assert_eq!(said(Kind::Label, &file), (expected, None));
    assert_eq!(said(Kind::Release, "<releases/>"), (vec![], None));
    assert_eq!(said(Kind::Release, r#"<releases><release id="1"/></releases>"#), (vec![good(1, r#"<release id="1"/>"#)], None));
}

#[test]
fn a_record_cut_short_costs_itself_only() {
    let file =
        "<artists>\n<artist><id>1</id><name>x\n<artist><id>2</id></artist>\n<artist><id>3\n<artist><id>4</id></artist>\n</artists>\n";
    let expected = vec![
        bad(1, "<artist><id>1</id><name>x", NEXT),
        good(2, "<artist><id>2</id></artist>"),
        bad(None, "<artist><id>3", NEXT),
        good(4, "<artist><id>4</id></artist>"),
    ];
    assert_eq!(said(Kind::Artist, file), (expected, None));
}

#[test]
fn a_record_cut_within_a_tag_costs_itself_only() {
    let file = "<releases>\n<release id=\"1\" status=\"Acc\n<release id=\"2\" status=\"A\">x</release>\n<release id=\"3\"><a b=\"\n<release id=\"4\"></release>\n</releases>";
    let expected = vec![
        bad(1, "<release id=\"1\" status=\"Acc", NEXT),
        good(2, "<release id=\"2\" status=\"A\">x</release>"),
        bad(3, "<release id=\"3\"><a b=\"", NEXT),
        good(4, "<release id=\"4\"></release>"),
    ];
    assert_eq!(said(Kind::Release, file), (expected, None));
}

#[test]
fn a_record_cut_within_a_comment_costs_itself_only() {
    let file = "<masters>\n<master id=\"1\"><!-- x\n<master id=\"2\"><!-- --></master>\n</masters>";
    assert_eq!(
        said(Kind::Master, file),
        (vec![bad(1, "<master id=\"1\"><!-- x", NEXT), good(2, "<master id=\"2\"><!-- --></master>")], None)
    );
}

#[test]
fn a_nested_label_begins_no_record() {
    let file = "<labels>\n<label><id>1</id><sublabels>\n<label id=\"2\">x</label>\n<label/>\n</sublabels></label>\n</labels>";
    assert_eq!(said(Kind::Label, file).0.len(), 1);
    assert_eq!(said(Kind::Label, file).1, None);
}

#[test]
fn the_last_record_cut_short_leaves_the_file_whole() {
    let file = "<artists>\n<artist><id>1</id><name>x\n</artists>\n";
    assert_eq!(
        said(Kind::Artist, file),
        (vec![bad(1, "<artist><id>1</id><name>x", "cut short: </artists> comes before its end tag")], None)
    );
}

#[test]
fn end_tags_without_a_start_do_not_end_the_root() {
    let file = "<artists>\n<artist><id>1</id></x></artists></artist></artist>\n<artist><id>2</id></artist>\n</artists>";
    let expected = vec![
        good(1, "<artist><id>1</id></x></artists></artist>"),
        bad(None, "</artist>", "not a <artist>: it begins with \"</artist>\""),
        good(2, "<artist><id>2</id></artist>"),
    ];
    assert_eq!(said(Kind::Artist, file), (expected, None));
}

#[test]
fn comments_and_cdata_end_no_record() {
    let first = "<artist><id>1</id><!-- </artist> --><a><![CDATA[</artist></artists><artist>]]></a></artist>";
    let file = format!("<artists>\n<!-- <artist> --><?x <artist> ?>\n{first}<artist><id>2</id><!-- > </artist>\n</artists>");
    let cut = bad(2, "<artist><id>2</id><!-- > </artist>", "cut short: </artists> comes before its end tag");
    assert_eq!(said(Kind::Artist, &file), (vec![good(1, first), cut], None));
}

#[test]
fn garbage_between_records_is_one_rejected_record() {
    let file = "<artists>\nstray <b>text</b>\n<c/> <!-- <artist> -->\n<artist><id>1</id></artist> x </artists>";
    let expected = vec![
        bad(
            None,
            "stray <b>text</b>\n<c/> <!-- <artist> -->",
            "not a <artist>: it begins with \"stray <b>text</b>\\n<c/> <!-- <artist> -->\"",
        ),
        good(1, "<artist><id>1</id></artist>"),
        bad(None, "x", "not a <artist>: it begins with \"x\""),
    ];
    assert_eq!(said(Kind::Artist, file), (expected, None));
}

#[test]
fn a_file_of_another_kind_is_named() {
    let wrong = said(Kind::Artist, "<releases>\n<release id=\"1\"/></releases>");
    assert_eq!(wrong, (vec![], Some("the file holds <releases>, not <artists>: it is another kind's or no dump".to_owned())));
    assert_eq!(said(Kind::Artist, "{\"a\": 1}").1, Some("the file begins with \"{\\\"a\\\": 1}\", not with <artists>".to_owned()));
    assert_eq!(said(Kind::Artist, "").1, Some("the file is empty, without <artists>".to_owned()));
    assert_eq!(said(Kind::Artist, " <?xml?>\n<art").1, Some("the file ends before <artists>".to_owned()));
}

#[test]
fn a_document_type_is_passed_over_with_all_that_it_declares() {
    let declared = "<!ENTITY a \"]>\"> <!-- ]> ' --> <?x ]> \" ?> <!ENTITY b SYSTEM 'file:///dev/zero'>";
    for prolog in
        ["<!DOCTYPE artists>".to_owned(), format!("<!DOCTYPE artists [{declared}]>"), format!("<!DOCTYPE artists 'x>' [ {declared} ] >")]
    {
        let file = format!("<?xml version='1.0'?>{prolog}\n<artists>\n<artist><id>1</id>&a;&b;</artist>\n</artists>");
        assert_eq!(said(Kind::Artist, &file), (vec![good(1, "<artist><id>1</id>&a;&b;</artist>")], None), "{prolog}");
    }
}

#[test]
fn what_has_no_end_before_the_root_or_behind_it_is_not_gathered() {
    for (file, at) in [("<!-- ", 0), ("<?x ", 0), ("<!DOCTYPE artists [ ", 0), ("<artists></artists><!-- ", 19)] {
        let mut splitter = Splitter::new(Kind::Artist);
        splitter.feed(Bytes::copy_from_slice(file.as_bytes()), &mut Vec::new());
        for _ in 0..80 {
            splitter.feed(Bytes::from(vec![b'x'; 1 << 16]), &mut Vec::new());
            assert!(splitter.pending.capacity() < 3 << 20, "{}", splitter.pending.capacity());
        }
        let defect = splitter.finish(None, &mut Vec::new()).defect.expect("a defect");
        assert!(defect.ends_with(&format!("xxx\" at byte {at} does not end within 1048576 bytes")), "{defect}");
    }
}

#[test]
fn a_truncated_file_is_not_whole() {
    let (records, defect) = said(Kind::Artist, "<artists>\n<artist><id>1</id></artist>\n<artist><id>2</id><na");
    let cut = bad(2, "<artist><id>2</id><na", "truncated: the file ends inside the record");
    assert_eq!((records, defect), (vec![good(1, "<artist><id>1</id></artist>"), cut], Some("the file ends before </artists>".to_owned())));
    assert_eq!(said(Kind::Artist, "<artists>\n<artist><id>1</id></artist>").1, Some("the file ends before </artists>".to_owned()));
    assert_eq!(said(Kind::Artist, "<artists><artist><id>1</id></artist></artis").1, Some("the file ends before </artists>".to_owned()));
}

#[test]
fn what_the_decompressor_says_is_passed_on() {
    let end =
        |file: &'static str| split_in(Kind::Artist, [Bytes::from_static(file.as_bytes())], (1 << 20, 1 << 10), Some("bad CRC")).1.defect;
    assert_eq!(end("<artists><art"), Some("the file ends before </artists>: bad CRC".to_owned()));
    assert_eq!(end("<artists></artists>"), Some("the file cannot be read to its end: bad CRC".to_owned()));
}

#[test]
fn what_follows_the_root_is_a_defect() {
    assert_eq!(said(Kind::Artist, "<artists></artists><artists>").1, Some("\"<artists>\" follows </artists> at byte 19".to_owned()));
    assert_eq!(said(Kind::Artist, "<artists></artists>\0").1, Some("\"\\0\" follows </artists> at byte 19".to_owned()));
}

#[test]
fn a_record_without_a_readable_id_is_rejected() {
    let file = "<artists>\n<artist><name>x</name></artist>\n<artist><id>x</id></artist>\n<artist><id>0</id></artist>\n</artists>";
    let defects: Vec<_> = said(Kind::Artist, file).0.into_iter().map(|(id, _, defect)| (id, defect.unwrap_or_default())).collect();
    let expected = ["it has no id", "its id is \"x\", not a number", "its id is 0"];
    assert_eq!(defects, expected.map(|defect| (None, defect.to_owned())));
}

#[test]
fn a_record_that_is_too_long_is_skipped_in_bounded_memory() {
    let long = format!("<artist><id>1</id><name>{}</name></artist>", "x".repeat(5000));
    let file = format!(
        "<artists>\n<artist><id>7</id></artist>\n{long}<artist><id>8</id></artist>\n<artist><id>9</id></artist>\n{long}\n</artists>"
    );
    let chunks = file.as_bytes().chunks(100).map(Bytes::copy_from_slice);
    let (records, ending) = split_in(Kind::Artist, chunks, (1000, 200), None);
    let ids: Vec<_> = records.iter().map(|record| (record.key.map(Key::id), record.raw.len(), record.defect.is_some())).collect();
    assert_eq!(ids, [(Some(7), 27, false), (Some(1), 200, true), (Some(9), 27, false), (Some(1), 200, true)]);
    assert_eq!(ending.defect, None);
    assert_eq!(records[1].defect.as_deref(), Some("longer than 1000 bytes: only its beginning was kept"));
}

#[test]
fn records_within_a_chunk_are_not_copied() {
    let chunk = Bytes::from_static(b"<artists>\n<artist><id>1</id></artist>\n<artist><id>2</id></artist>\n</artists>");
    let (records, _) = split_in(Kind::Artist, [chunk.clone()], (1000, 200), None);
    for record in records {
        assert_eq!(record.raw.as_ptr(), chunk[record.position as usize..].as_ptr());
    }
}

#[derive(Debug, PartialEq)]
enum Sort {
    Whole,
    Cut,
    Garbage,
    Truncated,
}

/// Byte by byte over the whole file, whose lines that end a record whatever came before are known from the start.
fn oracle(kind: Kind, file: &[u8]) -> Vec<(usize, Vec<u8>, Sort)> {
    let open = format!("<{kind}");
    let exact = format!("{open}{}", if matches!(kind, Kind::Artist | Kind::Label) { ">" } else { " " });
    let after = |at: usize, text: &str| file[at..].starts_with(text.as_bytes()).then(|| at + text.len());
    let end_tag = |at: usize, name: &str| {
        let end = after(at, &format!("</{name}"))?;
        let close = end + file[end..].iter().take_while(|byte| is_space(**byte)).count();
        (file.get(close) == Some(&b'>')).then_some(close + 1)
    };
    let starts = |at: usize| after(at, &open).filter(|end| file.get(*end).is_some_and(|next| is_space(*next) || b">/".contains(next)));
    let boundary = |at: usize| file[at - 1] == b'\n' && (after(at, &exact).is_some() || end_tag(at, kind.plural()).is_some());
    let tag = |at: usize, limit: usize| {
        let mut quote = None;
        for place in at..limit {
            match (quote, file[place]) {
                (None, b'>') => return Some((place + 1, file[place - 1] == b'/')),
                (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
                (Some(open), byte) if open == byte => quote = None,
                _ => {}
            }
        }
        None
    };
    let section = |at: usize, limit: usize, ways: &[(&str, &str)]| {
        let (begin, end) = ways.iter().find(|(begin, _)| after(at, begin).is_some())?;
        Some((at + begin.len()..limit).find(|&place| after(place, end).is_some_and(|end| end <= limit)).map(|place| place + end.len()))
    };
    let within = [("<!--", "-->"), ("<![CDATA[", "]]>")];
    let between = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];
    let mut found = Vec::new();
    let mut at = after(0, &format!("<{}>", kind.plural())).unwrap_or(file.len());
    while at < file.len() {
        if is_space(file[at]) {
            at += 1;
            continue;
        }
        if end_tag(at, kind.plural()).is_some() {
            return found;
        }
        let limit = (at + 1..file.len()).find(|&place| boundary(place)).unwrap_or(file.len());
        let trimmed = |end: usize| file[at..end].trim_ascii_end().to_vec();
        if starts(at).is_none() {
            if !file[at..].starts_with(b"<![")
                && let Some(Some(end)) = section(at, limit, &between)
            {
                at = end;
                continue;
            }
            let mut place = at;
            while place < limit && !(place > at && (starts(place).is_some() || end_tag(place, kind.plural()).is_some())) {
                place = match section(place, limit, &between) {
                    Some(end) => end.unwrap_or(limit),
                    None => place + 1,
                };
            }
            let raw = if place == file.len() { file[at..].to_vec() } else { trimmed(place) };
            found.push((at, raw, if place == file.len() { Sort::Truncated } else { Sort::Garbage }));
            at = place;
            continue;
        }
        let (mut place, mut depth, mut whole) = (at, 0, false);
        while place < limit {
            if let Some(end) = section(place, limit, &within) {
                place = end.unwrap_or(limit);
            } else if let Some(name_end) = starts(place) {
                let Some((end, alone)) = tag(name_end, limit) else { break };
                place = end;
                depth += usize::from(!alone);
                whole = depth == 0;
            } else if let Some(end) = end_tag(place, kind.name()) {
                place = end;
                depth -= 1;
                whole = depth == 0;
            } else {
                place += 1;
            }
            if whole {
                break;
            }
        }
        if whole {
            found.push((at, file[at..place].to_vec(), Sort::Whole));
            at = place;
        } else if limit == file.len() {
            found.push((at, file[at..].to_vec(), Sort::Truncated));
            at = limit;
        } else {
            found.push((at, trimmed(limit), Sort::Cut));
            at = limit;
        }
    }
    found
}

/// Files of records, good and cut, with whatever else may stand in one.
fn file() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let piece = prop::sample::select(vec![
        "\n",
        " ",
        "x",
        "<K",
        "<K>",
        "<K ",
        "<K i='1'>",
        "<K i='>'/>",
        "<K/>",
        "</K>",
        "</K >",
        "</Ks>",
        "</Ks",
        "\n</Ks>",
        "</K",
        "\n<K>",
        "\n<K ",
        "\n<K id=\"1\">",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<!x",
        "<?",
        "?>",
        "<a>",
        "</a>",
        "<a b=\"",
        "\"",
        "'",
        "<Kx>",
        "\n<K id='2'>x</K>",
        "é",
        "<",
        "\n<",
        "\n<K><id>3</id></K>",
        "</",
        ">",
    ]);
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (kind, prop::collection::vec(piece, 0..24), any::<bool>()).prop_map(|(kind, pieces, closed)| {
        let mut text = format!("<{}>", kind.plural());
        text.extend(pieces.iter().map(|piece| piece.replace('K', kind.name())));
        if closed {
            text.push_str(&format!("\n</{}>", kind.plural()));
        }
        (kind, text.into_bytes())
    })
}

fn sort(record: &Record) -> Sort {
    match record.defect.as_deref() {
        Some(defect) if defect.starts_with("cut short") => Sort::Cut,
        Some(defect) if defect.starts_with("not a <") => Sort::Garbage,
        Some(defect) if defect.starts_with("truncated") => Sort::Truncated,
        _ => Sort::Whole,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_finds_what_the_slow_splitter_finds((kind, file) in file()) {
        let (records, _) = split_in(kind, [Bytes::from(file.clone())], (1 << 20, 1 << 10), None);
        let found: Vec<_> = records.iter().map(|record| (record.position as usize, record.raw.to_vec(), sort(record))).collect();
        prop_assert_eq!(found, oracle(kind, &file), "{}", String::from_utf8_lossy(&file));
    }

    #[test]
    fn chunks_do_not_matter((kind, file) in file(), cuts in prop::collection::vec(1_usize..40, 1..8), longest in prop::sample::select(vec![70, 100, 1 << 20])) {
        let limits = (longest, longest / 2);
        let whole = split_in(kind, [Bytes::from(file.clone())], limits, None);
        let single = file.iter().map(|byte| Bytes::copy_from_slice(&[*byte]));
        prop_assert_eq!(&split_in(kind, single, limits, None), &whole, "{}", String::from_utf8_lossy(&file));
        let mut rest = Bytes::from(file);
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            chunks.push(rest.split_to((*cut).min(rest.len())));
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(split_in(kind, chunks, limits, None), whole);
    }
}
