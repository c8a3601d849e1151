//! The column as a whole: whatever is written is read back, every search agrees with the naive
//! scan, and no damage does worse than an error.

use super::*;
use proptest::prelude::*;
use timberlog_types::RowSet;

fn encode(rows: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
    let (mut payload, mut tokens) = (Vec::new(), Vec::new());
    MessageEncoder::new(1).encode(rows.iter().map(Vec::as_slice), &mut payload, &mut tokens);
    (payload, tokens)
}

fn open(rows: &[Vec<u8>]) -> MessageColumn {
    MessageColumn::open(encode(rows).0, rows.len()).unwrap()
}

fn read(column: &MessageColumn, rows: &RowSet) -> Result<Vec<(usize, Vec<u8>)>, MessageError> {
    let mut texts = Vec::new();
    column.read(rows, &mut |row, text| texts.push((row, text.to_vec()))).map(|()| texts)
}

/// A substring, or (`is_plain` off) a text in which one of the literals stands before an `e`.
#[derive(Debug)]
struct Matcher {
    literals: Vec<Vec<u8>>,
    ignores_case: bool,
    is_plain: bool,
}

impl TextMatcher for Matcher {
    fn is_match(&self, text: &[u8]) -> bool {
        self.literals.iter().any(|literal| {
            let found = (0..=text.len().saturating_sub(literal.len())).find(|&at| {
                let part = &text[at..(at + literal.len()).min(text.len())];
                if self.ignores_case { part.eq_ignore_ascii_case(literal) } else { part == literal }
            });
            found.is_some_and(|at| self.is_plain || text[at..].contains(&b'e'))
        })
    }

    fn literals(&self) -> &[Vec<u8>] {
        &self.literals
    }

    fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    fn is_plain_literal(&self) -> bool {
        self.is_plain
    }
}

/// Texts that repeat a few shapes with ever new variables, so that templates come to be.
fn shaped_rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        4 => "[ :=,/._-]{1,2}",
        3 => prop::sample::select(vec!["error", "ms", " took ", "node", "Error in ", "x", "a", "é", "ſ", "[", "日本"]).prop_map(str::to_owned),
        1 => Just("\0".to_owned()),
        6 => prop::sample::select(vec!["\u{1}", "\u{2}", "\u{3}", "\u{4}", "\u{5}", "\u{6}"]).prop_map(str::to_owned),
    ];
    let shape = prop::collection::vec(piece, 1..8);
    (prop::collection::vec(shape, 1..4), prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..120))
        .prop_map(|(shapes, picks)| {
            picks
                .into_iter()
                .map(|(pick, seed)| {
                    let mut seed = seed;
                    let mut text = String::new();
                    for piece in pick.get(&shapes) {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let random = seed >> 20;
                        match piece.as_str() {
                            "\u{1}" => text.push_str(&(random % 1000).to_string()),
                            "\u{2}" => text.push_str(&format!("{:02}", random % 100)),
                            "\u{3}" => {
                                text.push_str(&format!("{:0width$}", random % 100, width = 1 + random as usize % 4))
                            }
                            "\u{4}" => text.push_str(&format!("{:08x}", random as u32)),
                            "\u{5}" => text.push_str(&format!("{:x}{}", random % 5000, random % 7)),
                            "\u{6}" => text.push_str(&format!("{}{}", random, random)),
                            static_piece => text.push_str(static_piece),
                        }
                    }
                    text.into_bytes()
                })
                .collect()
        })
}

fn wild_rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let row = prop_oneof![
        3 => prop::collection::vec(prop::sample::select(b"aef gz09 1E-\xc3\xa9".to_vec()), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..400_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec(row, 0..60)
}

fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![4 => shaped_rows(), 1 => wild_rows()]
}

/// A piece of one of the texts.
fn cut(rows: &[Vec<u8>], (row, start, len): (prop::sample::Index, prop::sample::Index, usize)) -> Option<Vec<u8>> {
    let row = (!rows.is_empty()).then(|| row.get(rows)).filter(|row| !row.is_empty())?;
    let start = start.index(row.len());
    Some(row[start..row.len().min(start + len)].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back(rows in rows(), picks in any::<u64>()) {
        let column = open(&rows);
        let expected: Vec<_> = rows.iter().cloned().enumerate().collect();
        prop_assert_eq!(read(&column, &RowSet::all(rows.len())).unwrap(), expected.clone());
        let some = RowSet::from_fn(rows.len(), |row| picks >> (row % 64) & 1 == 1);
        let expected: Vec<_> = expected.into_iter().filter(|(row, _)| some.contains(*row)).collect();
        prop_assert_eq!(read(&column, &some).unwrap(), expected);
    }

    #[test]
    fn lengths_are_those_of_the_texts(rows in rows(), picks in any::<u64>()) {
        let column = open(&rows);
        let some = RowSet::from_fn(rows.len(), |row| picks >> (row % 64) & 1 == 1);
        let mut lengths = vec![7; 3];
        column.lengths(&some, &mut lengths).unwrap();
        let len = |row: usize| if some.contains(row) { rows[row].len() as u32 } else { 0 };
        prop_assert_eq!(&lengths, &(0..rows.len()).map(len).collect::<Vec<_>>());
        column.lengths(&RowSet::all(rows.len()), &mut lengths).unwrap();
        prop_assert_eq!(lengths, rows.iter().map(|row| row.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn searches_agree_with_the_naive_scan(
        rows in rows(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..12_usize), 1..20),
        changes in any::<u64>(),
        picks in any::<u64>(),
    ) {
        let column = open(&rows);
        let literals: Vec<_> = cuts.into_iter().filter_map(|at| cut(&rows, at)).collect();
        let within = RowSet::from_fn(rows.len(), |row| picks >> (row % 64) & 1 == 1);
        for (index, literal) in literals.iter().enumerate() {
            let mut literal = literal.clone();
            let change = changes >> (index * 3);
            if change & 1 == 1 {
                literal.iter_mut().for_each(|byte| *byte = if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
            }
            let is_plain = change & 4 == 0;
            let mut all = vec![literal];
            if !is_plain {
                all.extend(literals.first().cloned());
            }
            let matcher = Matcher { literals: all, ignores_case: change & 3 != 0, is_plain };
            let truth = RowSet::from_fn(rows.len(), |row| matcher.is_match(&rows[row]));
            prop_assert_eq!(column.count(&matcher).unwrap(), truth.count(), "{:?}", matcher);
            prop_assert_eq!(&column.search(&matcher, &RowSet::all(rows.len())).unwrap(), &truth, "{:?}", matcher);
            let mut expected = truth;
            expected.intersect(&within);
            prop_assert_eq!(&column.search(&matcher, &within).unwrap(), &expected, "{:?}", matcher);
        }
    }

    #[test]
    fn every_token_is_given(rows in rows()) {
        let (_, tokens) = encode(&rows);
        let given: std::collections::HashSet<_> = tokens.into_iter().collect();
        let mut expected = std::collections::HashSet::new();
        rows.iter().for_each(|row| token_hashes(row, &mut |hash| { expected.insert(hash); }));
        prop_assert_eq!(given, expected);
    }
}

fn sample() -> Vec<Vec<u8>> {
    let mut rows: Vec<Vec<u8>> = (0..40_u64)
        .map(|row| {
            let hash = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("took {row} ms at node{:02} for {hash:016x} id {} q{row}w{}z", row % 7, hash >> 8, row % 3)
                .into_bytes()
        })
        .collect();
    rows.push(b"rare".to_vec());
    rows.push(b"a\0b 12".to_vec());
    rows
}

#[test]
fn templates_are_made_of_repeated_shapes() {
    let column = open(&sample());
    let templates = column.templates().unwrap();
    assert_eq!((templates.list.len(), templates.rare_rows), (1, 2));
    let kinds: Vec<_> = templates.slots.iter().map(|slot| slot.kind as u8).collect();
    assert_eq!(kinds, [1, 0, 3, 1, 4], "integer, digits, fixed string, integer, string");
}

/// Rows of shapes that have every kind of slot, with so few values that near misses are common.
fn crowded_rows() -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    for row in 0..30_u64 {
        let small = row * 7 % 30;
        let long = format!("{}{small:014}", row % 3 + 1).repeat(2);
        rows.push(format!("took {} ms", [5, 105, 15, 50, 1050][row as usize % 5]));
        rows.push(format!("a-{small:02}:{:02} E", row % 4));
        rows.push(format!("b {small:0width$} c {small}", width = row as usize % 3 + 1));
        rows.push(format!("node{small} n{long}x{row} {long}"));
        rows.push(format!("id {:04x}7 Ab{small}C{row} {small}{:x}", row % 5 * 0x1111, row % 5 + 10));
        rows.push(format!("only {}", ["rare", "RARE 05", "took 05 ms", "7"][row as usize % 4]));
    }
    rows.into_iter().map(String::into_bytes).collect()
}

#[test]
fn every_piece_of_a_text_finds_what_the_naive_scan_finds() {
    let rows = crowded_rows();
    let column = open(&rows);
    let kinds: std::collections::HashSet<_> =
        column.templates().unwrap().slots.iter().map(|slot| slot.kind as u8).collect();
    assert_eq!(kinds.len(), 5, "every kind of slot");
    let mut literals = std::collections::BTreeSet::new();
    for row in rows.iter().take(18) {
        for start in 0..row.len() {
            for len in [1, 2, 3, 4, 5, 7, 9, 12, 17, 30] {
                let piece = &row[start..row.len().min(start + len)];
                literals.insert(piece.to_vec());
                let mut padded = piece.to_vec();
                if let Some(digit) = piece.iter().position(u8::is_ascii_digit) {
                    padded.insert(digit, b'0');
                }
                literals.insert(padded);
            }
        }
    }
    for literal in literals {
        let finder = memchr::memmem::Finder::new(&literal);
        let truth = RowSet::from_fn(rows.len(), |row| finder.find(&rows[row]).is_some());
        let matcher = Matcher { literals: vec![literal.clone()], ignores_case: false, is_plain: true };
        let found = column.search(&matcher, &RowSet::all(rows.len())).unwrap();
        assert_eq!(found, truth, "{}", String::from_utf8_lossy(&literal));
        assert_eq!(column.count(&matcher).unwrap(), truth.count());
    }
}

#[test]
fn a_block_where_templates_do_not_pay_is_stored_as_text() {
    // The same few lines over and over: whole lines repeat, and zstd alone sees that.
    let lines: Vec<_> = sample().into_iter().take(37).collect();
    let rows: Vec<_> = (0..4000).map(|row| lines[row * row % 37].clone()).collect();
    let column = open(&rows);
    assert!(column.templates().unwrap().list.is_empty());
    assert!(encode(&rows).0.len() < 4000);
    // Most of the text fits no template.
    let mut rows: Vec<_> = (0..12).map(|row| format!("a{row}").into_bytes()).collect();
    rows.extend((0..100).map(|row: u32| "some words of no template".repeat(1 + row as usize % 90).into_bytes()));
    assert!(open(&rows).templates().unwrap().list.is_empty());
}

#[test]
fn lengths_need_neither_strings_nor_rare_text() {
    // Templates of every kind of slot with rare rows beside them, and a block of plain text.
    let lines: Vec<_> = sample().into_iter().take(37).collect();
    let plain: Vec<_> = (0..4000).map(|row| lines[row * row % 37].clone()).collect();
    for rows in [crowded_rows(), plain] {
        let column = open(&rows);
        let mut lengths = Vec::new();
        column.lengths(&RowSet::all(rows.len()), &mut lengths).unwrap();
        assert!(lengths.iter().map(|&len| len as usize).eq(rows.iter().map(Vec::len)));
        let texts = [streams::STRINGS, streams::RARE];
        assert!(!texts.iter().any(|&stream| column.streams.is_open(stream)));
        read(&column, &RowSet::all(rows.len())).unwrap();
        assert!(texts.iter().any(|&stream| column.streams.is_open(stream)));
    }
}

#[test]
fn a_matcher_without_literals_is_asked_for_every_row() {
    struct Ends;
    impl TextMatcher for Ends {
        fn is_match(&self, text: &[u8]) -> bool {
            text.ends_with(b"z")
        }
        fn literals(&self) -> &[Vec<u8>] {
            &[]
        }
    }
    let column = open(&sample());
    assert_eq!(column.count(&Ends).unwrap(), 40);
    assert_eq!(column.search(&Ends, &RowSet::all(42)).unwrap().count(), 40);
}

#[test]
fn many_templates_take_two_bytes_each() {
    let mut rows = Vec::new();
    for shape in 0..700_u32 {
        let name: String = shape.to_string().bytes().map(|digit| char::from(digit - b'0' + b'k')).collect();
        rows.extend((0..9).map(|row| format!("{name} {row}").into_bytes()));
    }
    let column = open(&rows);
    assert_eq!(column.templates().unwrap().list.len(), 700);
    let expected: Vec<_> = rows.into_iter().enumerate().collect();
    assert_eq!(read(&column, &RowSet::all(expected.len())).unwrap(), expected);
}

#[test]
fn one_encoder_serves_many_blocks() {
    let mut encoder = MessageEncoder::new(1);
    let blocks = [sample(), Vec::new(), vec![vec![b'x'; 2 << 20]], sample(), vec![Vec::new(); 100]];
    for rows in &blocks {
        let (mut payload, mut tokens) = (Vec::new(), Vec::new());
        encoder.encode(rows.iter().map(Vec::as_slice), &mut payload, &mut tokens);
        assert_eq!((payload.clone(), tokens), encode(rows));
        let column = MessageColumn::open(payload, rows.len()).unwrap();
        let texts = read(&column, &RowSet::all(rows.len())).unwrap();
        assert!(texts.iter().map(|(_, text)| text).eq(rows));
    }
}

#[test]
fn damage_is_an_error_or_another_text() {
    let rows = sample();
    let (payload, _) = encode(&rows);
    let matchers = ["7 ms", "node0", "rare"].map(|literal| Matcher {
        literals: vec![literal.as_bytes().to_vec()],
        ignores_case: false,
        is_plain: true,
    });
    let ask = |payload: Vec<u8>, rows: usize| {
        let Ok(column) = MessageColumn::open(payload, rows) else { return };
        let _ = column.lengths(&RowSet::all(rows), &mut Vec::new());
        let _ = read(&column, &RowSet::all(rows));
        for matcher in &matchers {
            let _ = column.count(matcher);
            let _ = column.search(matcher, &RowSet::all(rows));
        }
        assert!(column.memory_bytes() < 1 << 30);
    };
    for at in 0..payload.len() {
        ask(payload[..at].to_vec(), rows.len());
        for value in [0, 0xff, payload[at].wrapping_add(1), payload[at] ^ 0x40] {
            let mut damaged = payload.clone();
            damaged[at] = value;
            ask(damaged, rows.len());
        }
    }
    for count in [0, 1, 41, 43, 100_000] {
        ask(payload.clone(), count);
    }
}
