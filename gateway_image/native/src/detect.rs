//! Finding secrets in bytes: one pass of an automaton over everything, exact checks where it stops.
//!
//! How this works: a dense DFA (all patterns at once, overlapping) looks for *triggers*: a key's prefix, an `@`, thirteen
//! digits. Where one ends, its token is matched exactly from the token's start: a fixed program of literals and runs of
//! a class of bytes, or a matcher of its own (cards, IBANs, addresses, phone numbers, PEM). The ends of runs are
//! remembered, so a text made of nothing but prefixes is still read once. A team's own patterns are regular expressions
//! of the crate `regex`'s engine, which is linear. What escapes hide (`\u0041`, `\/`, `%41`, terminal escape sequences,
//! zero-width characters) is looked at a second time without them, and hexadecimal `\x…` once more as bytes.
//!
//! The tables come from `wicketgate_gateway/masking/detectors_table.py`, and `detectors_twin.py` is the twin.

use regex_automata::dfa::{dense, Automaton};
use regex_automata::meta;
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, Input, MatchKind};

/// A private key without an end within this many bytes is masked as far as its lines go.
const PEM_MOST: usize = 64 * 1024;
const DFA_BYTES: usize = 16 * 1024 * 1024;
const REGEX_BYTES: usize = 4 * 1024 * 1024;
const EMAIL_LOCAL: usize = 64;
const EMAIL_DOMAIN: usize = 253;
const JWT_HEADER: usize = 1024;
const FEWEST_HEX: usize = 16;

/// Where and by which detector: start, end, index.
pub type Hit = (usize, usize, u32);

/// A field with hits: where its row and its value stand, and the hits, counted from the value's start.
pub struct Found {
    pub row: (usize, usize),
    pub column: usize,
    pub value: (usize, usize),
    pub hits: Vec<Hit>,
}

/// One step of a token.
#[derive(Clone, Debug)]
pub enum Step {
    Literal(Vec<u8>),
    /// A run of bytes of this class (an index into the classes), at least and at most so many.
    Run(usize, usize, usize),
}

/// How a token is matched from where its trigger ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matcher {
    Steps,
    Card,
    Iban,
    Email,
    Phone,
    Pem,
}

/// One kind of token; `back` bytes before its trigger's end it starts (`Steps` and `Pem`), `shown` steps stay as they are.
#[derive(Clone, Debug)]
pub struct Token {
    pub detector: u32,
    pub trigger: String,
    pub matcher: Matcher,
    pub back: usize,
    pub steps: Vec<Step>,
    pub shown: usize,
    pub confirm: Confirm,
    /// Whether a letter or digit directly before it makes it something else.
    pub apart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    None,
    Jwt,
    Mixed,
    Luhn,
    Mod97,
}

impl Confirm {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::None,
            "jwt" => Self::Jwt,
            "mixed" => Self::Mixed,
            "luhn" => Self::Luhn,
            "mod97" => Self::Mod97,
            _ => return None,
        })
    }

    fn holds(self, text: &[u8]) -> bool {
        match self {
            Self::None => true,
            Self::Jwt => is_jwt_header(text),
            Self::Mixed => text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic),
            Self::Luhn => luhn(text.iter().copied().filter(u8::is_ascii_digit)),
            Self::Mod97 => {
                let kept: Vec<u8> = text.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
                kept.len() > 4 && mod97(&kept)
            }
        }
    }
}

/// A team's own pattern.
pub struct Own {
    pub detector: u32,
    pub regex: meta::Regex,
    pub confirm: Confirm,
}

/// All detectors of a policy, compiled.
pub struct Scanner {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    tokens: Vec<Token>,
    own: Vec<Own>,
    classes: Vec<[bool; 256]>,
    countries: Vec<([u8; 2], usize)>,
    issuers: Vec<(u32, u32, u32)>,
}

/// Triggers beside those of tokens: what hides characters, and what holds bytes in hexadecimal.
const VEILS: &[&str] = &[
    r"\x1b", r"\\u00[2-7]", r"\\/", r"%[2-7][0-9A-Fa-f]", r"\xe2\x80[\x8b-\x8f]", r"\xe2\x81\xa0", r"\xef\xbb\xbf", r"\xc2\xad",
];
const HEX: &str = r"\\[xX][0-9A-Fa-f]{16}";

impl Scanner {
    /// Compiles; `own` are (detector, pattern, confirm). An error is a pattern that the engine does not take.
    pub fn new(
        tokens: Vec<Token>,
        own: &[(u32, String, Confirm)],
        classes: Vec<[bool; 256]>,
        countries: Vec<([u8; 2], usize)>,
        issuers: Vec<(u32, u32, u32)>,
    ) -> Result<Self, String> {
        let mut patterns: Vec<&str> = tokens.iter().map(|token| token.trigger.as_str()).collect();
        patterns.extend(VEILS);
        patterns.push(HEX);
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .accelerate(false)
            .dfa_size_limit(Some(DFA_BYTES))
            .determinize_size_limit(Some(4 * DFA_BYTES));
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false).unicode(false))
            .thompson(thompson::Config::new().utf8(false))
            .build_many(&patterns)
            .map_err(|error| error.to_string())?;
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::No))
            .map_err(|error| error.to_string())?;
        let own = own
            .iter()
            .map(|(detector, pattern, confirm)| {
                let regex = meta::Builder::new()
                    .configure(
                        meta::Config::new()
                            .nfa_size_limit(Some(REGEX_BYTES))
                            .hybrid_cache_capacity(REGEX_BYTES)
                            .utf8_empty(false),
                    )
                    .syntax(syntax::Config::new().utf8(false).unicode(false))
                    .build(pattern)
                    .map_err(|error| error.to_string())?;
                Ok(Own { detector: *detector, regex, confirm: *confirm })
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Self { dfa, start, tokens, own, classes, countries, issuers })
    }

    /// Calls `found(pattern, end)` for each trigger, in order of their ends, until it returns false.
    #[inline]
    fn triggers(&self, data: &[u8], mut found: impl FnMut(usize, usize) -> bool) {
        let dfa = &self.dfa;
        let mut state = self.start;
        // A match is known one byte behind its end.
        for (at, &byte) in data.iter().enumerate() {
            state = dfa.next_state(state, byte);
            if dfa.is_special_state(state) && dfa.is_match_state(state) {
                for i in 0..dfa.match_len(state) {
                    if !found(dfa.match_pattern(state, i).as_usize(), at) {
                        return;
                    }
                }
            }
        }
        state = dfa.next_eoi_state(state);
        if dfa.is_match_state(state) {
            for i in 0..dfa.match_len(state) {
                if !found(dfa.match_pattern(state, i).as_usize(), data.len()) {
                    return;
                }
            }
        }
    }

    /// What may be (part of) a hit or hide one, as spans: what none of them touches holds no hit. By their ends.
    fn suspects(&self, data: &[u8]) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        self.triggers(data, |_, end| {
            if spans.last().is_none_or(|last| last.1 != end) {
                spans.push((end - 1, end));
            }
            true
        });
        for own in &self.own {
            spans.extend(own.regex.find_iter(data).map(|found| (found.start(), found.end())));
        }
        if !self.own.is_empty() {
            spans.sort_unstable();
        }
        spans
    }

    /// The fields with hits of the complete DataRow messages that `data` begins with, and where those end; `None` if one
    /// of them is malformed.
    ///
    /// `special` are columns in a binary format that holds a number: `(column, false)` an int8, `(column, true)` a
    /// numeric. They are looked at as their decimal digits, and a hit is told as the whole field.
    pub fn rows(&self, data: &[u8], special: &[(usize, bool)]) -> Option<(usize, Vec<Found>)> {
        let mut found = Vec::new();
        let spans = self.suspects(data);
        let mut next = 0;
        let mut row = 0;
        while row + 5 <= data.len() && data[row] == b'D' {
            let end = row + 1 + u32::from_be_bytes(data[row + 1..row + 5].try_into().ok()?) as usize;
            if end < row + 7 {
                return None;
            }
            if end > data.len() {
                break;
            }
            let columns = usize::from(u16::from_be_bytes([data[row + 5], data[row + 6]]));
            while spans.get(next).is_some_and(|span| span.1 <= row) {
                next += 1;
            }
            // A suspect of our own patterns may begin before this row and end behind it: those are sorted by starts.
            let mut look = next;
            if special.is_empty() && spans.get(next).is_none_or(|span| span.0 >= end) {
                row = end;
                continue;
            }
            let mut at = row + 7;
            for column in 0..columns {
                let length = i32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?);
                at += 4;
                if length < 0 {
                    if length != -1 {
                        return None;
                    }
                    continue;
                }
                let length = length as usize;
                let value = data.get(at..at + length).filter(|_| at + length <= end)?;
                if let Some((_, numeric)) = special.iter().find(|(number, _)| *number == column) {
                    let digits = if *numeric { numeric_digits(value) } else { int8_digits(value) };
                    let mut hits = self.scan(digits.as_deref().unwrap_or(value));
                    hits.iter_mut().for_each(|hit| (hit.0, hit.1) = (0, length));
                    if !hits.is_empty() {
                        found.push(Found { row: (row, end), column, value: (at, at + length), hits });
                    }
                } else {
                    while spans.get(look).is_some_and(|span| span.1 <= at) {
                        look += 1;
                    }
                    if spans[look..].iter().take_while(|span| span.0 < at + length).any(|span| span.1 > at) {
                        let hits = self.scan(value);
                        if !hits.is_empty() {
                            found.push(Found { row: (row, end), column, value: (at, at + length), hits });
                        }
                    }
                }
                at += length;
            }
            if at != end {
                return None;
            }
            row = end;
        }
        Some((row, found))
    }

    /// All hits in `data`, by start, longest first.
    pub fn scan(&self, data: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let (veiled, hex) = self.plain(data, &mut hits);
        if veiled {
            self.unveiled(data, &mut hits);
        }
        if hex {
            self.hexadecimal(data, &mut hits);
        }
        hits.sort_unstable_by_key(|&(start, end, detector)| (start, usize::MAX - end, detector));
        hits.dedup();
        hits
    }

    fn plain(&self, data: &[u8], hits: &mut Vec<Hit>) -> (bool, bool) {
        let mut past = vec![0_usize; self.tokens.len()];
        let mut runs = Runs::new(&self.classes, data);
        let (mut veiled, mut hex) = (false, false);
        let known = self.tokens.len();
        self.triggers(data, |pattern, end| {
            if pattern >= known {
                if pattern - known < VEILS.len() {
                    veiled = true;
                } else {
                    hex = true;
                }
                return true;
            }
            let token = &self.tokens[pattern];
            if let Some((start, end)) = self.matched(token, data, end, past[pattern], &mut runs) {
                past[pattern] = end;
                hits.push((start, end, token.detector));
            }
            true
        });
        for own in &self.own {
            let mut from = 0;
            while let Some(found) = own.regex.search(&Input::new(data).span(from..data.len())) {
                if found.is_empty() {
                    from = found.end() + 1;
                    if from > data.len() {
                        break;
                    }
                    continue;
                }
                if own.confirm.holds(&data[found.range()]) {
                    hits.push((found.start(), found.end(), own.detector));
                }
                from = found.end();
            }
        }
        (veiled, hex)
    }

    fn unveiled(&self, data: &[u8], hits: &mut Vec<Hit>) {
        let blank = data.windows(BLANK.len()).any(|window| window == BLANK);
        for &blank in if blank { &[false, true][..] } else { &[false][..] } {
            let (view, places) = unveil(data, blank);
            let mut within = Vec::new();
            self.plain(&view, &mut within);
            hits.extend(within.iter().map(|&(start, end, detector)| (places[start].0, places[end - 1].1, detector)));
        }
    }

    fn hexadecimal(&self, data: &[u8], hits: &mut Vec<Hit>) {
        let mut at = 0;
        while at + 2 + FEWEST_HEX <= data.len() {
            if data[at] != b'\\' || !matches!(data[at + 1], b'x' | b'X') {
                at += 1;
                continue;
            }
            let first = at + 2;
            let mut end = first;
            while data.get(end).is_some_and(u8::is_ascii_hexdigit) {
                end += 1;
            }
            if end - first >= FEWEST_HEX {
                let decoded: Vec<u8> =
                    data[first..end].chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
                let mut within = Vec::new();
                if self.plain(&decoded, &mut within).0 {
                    self.unveiled(&decoded, &mut within);
                }
                hits.extend(within.iter().map(|&(start, end, d)| (first + 2 * start, first + 2 * end, d)));
            }
            at = end;
        }
    }

    fn matched(
        &self,
        token: &Token,
        data: &[u8],
        end: usize,
        past: usize,
        runs: &mut Runs,
    ) -> Option<(usize, usize)> {
        match token.matcher {
            Matcher::Steps => {
                let start = end.checked_sub(token.back)?;
                if start < past || (token.apart && start > 0 && data[start - 1].is_ascii_alphanumeric()) {
                    return None;
                }
                let (mut at, mut from) = (start, start);
                for (i, step) in token.steps.iter().enumerate() {
                    if i == token.shown {
                        from = at;
                    }
                    match step {
                        Step::Literal(text) => {
                            if !data[at..].starts_with(text) {
                                return None;
                            }
                            at += text.len();
                        }
                        Step::Run(class, least, most) => {
                            let length = (runs.end(*class, at) - at).min(*most);
                            if length < *least {
                                return None;
                            }
                            at += length;
                        }
                    }
                }
                token.confirm.holds(&data[from..at]).then_some((from, at))
            }
            Matcher::Card => self.card(data, end, past),
            Matcher::Iban => self.iban(data, end.checked_sub(token.back)?, past),
            Matcher::Email => email(data, end - 1, past),
            Matcher::Phone => phone(data, end.checked_sub(token.back)?, past),
            Matcher::Pem => pem(data, end.checked_sub(token.back)?, past, runs),
        }
    }

    /// `end` is behind the thirteenth digit.
    fn card(&self, data: &[u8], end: usize, past: usize) -> Option<(usize, usize)> {
        let mut start = end - 1;
        for _ in 0..12 {
            start -= 1;
            if !data[start].is_ascii_digit() {
                start -= 1;
            }
        }
        if start < past || (start > 0 && data[start - 1].is_ascii_digit()) {
            return None;
        }
        let mut digits = [0_u8; 19];
        let (mut count, mut at, mut best) = (0, start, None);
        while count < 19 && at < data.len() && data[at].is_ascii_digit() {
            digits[count] = data[at];
            count += 1;
            at += 1;
            let next = data.get(at).copied().unwrap_or(0);
            if next.is_ascii_digit() {
                continue;
            }
            if count >= 13 && self.issued(&digits[..count]) && luhn(digits[..count].iter().copied()) {
                best = Some((start, at));
            }
            if matches!(next, b' ' | b'-') {
                at += 1;
            }
        }
        best
    }

    fn issued(&self, digits: &[u8]) -> bool {
        let prefix = digits[..6].iter().fold(0_u32, |number, &digit| number * 10 + u32::from(digit - b'0'));
        self.issuers
            .iter()
            .any(|&(first, last, lengths)| (first..=last).contains(&prefix) && lengths >> digits.len() & 1 == 1)
    }

    fn iban(&self, data: &[u8], start: usize, past: usize) -> Option<(usize, usize)> {
        if start < past {
            return None;
        }
        let country = [data[start].to_ascii_uppercase(), data[start + 1].to_ascii_uppercase()];
        let length = self.countries.iter().find(|(code, _)| *code == country)?.1;
        let mut kept = Vec::with_capacity(34);
        let mut at = start;
        while kept.len() < length {
            let byte = *data.get(at)?;
            if byte.is_ascii_alphanumeric() {
                kept.push(byte);
            } else if !matches!(byte, b' ' | b'-') || !data[at - 1].is_ascii_alphanumeric() {
                return None;
            }
            at += 1;
        }
        mod97(&kept).then_some((start, at))
    }
}

/// The ends of runs, remembered for each class: asking for each position of a run reads it once.
struct Runs<'a> {
    classes: &'a [[bool; 256]],
    data: &'a [u8],
    known: Vec<(usize, usize)>,
    key_end: Option<(usize, Option<usize>)>,
}

impl<'a> Runs<'a> {
    fn new(classes: &'a [[bool; 256]], data: &'a [u8]) -> Self {
        Self { classes, data, known: vec![(0, 0); classes.len()], key_end: None }
    }

    fn end(&mut self, class: usize, at: usize) -> usize {
        let (start, end) = self.known[class];
        if start <= at && at < end {
            return end;
        }
        let members = &self.classes[class];
        let mut end = at;
        while self.data.get(end).is_some_and(|&byte| members[byte as usize]) {
            end += 1;
        }
        self.known[class] = (at, end);
        end
    }

    /// Where the next end marker of a PEM block starts.
    fn pem_end(&mut self, at: usize) -> Option<usize> {
        if let Some((asked, found)) = self.key_end {
            if at >= asked && found.is_none_or(|found| at <= found) {
                return found;
            }
        }
        let found = find(&self.data[at..], b"-----END ").map(|offset| at + offset);
        self.key_end = Some((at, found));
        found
    }
}

fn find(data: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = data[from..].iter().position(|&byte| byte == wanted[0]) {
        if data[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+'-".contains(&byte)
}

/// `at` is where the `@` stands.
fn email(data: &[u8], at: usize, past: usize) -> Option<(usize, usize)> {
    let mut start = at;
    for _ in 0..EMAIL_LOCAL {
        if start > past && is_local(data[start - 1]) {
            start -= 1;
        } else if start >= past + 2 && is_pair(data[start - 2], data[start - 1]) {
            start -= 2;
        } else {
            break;
        }
    }
    while start < at && data[start] == b'\'' {
        start += 1; // a quote around it
    }
    if start == at {
        return None;
    }
    let (mut end, mut best, mut dots, mut label) = (at + 1, None, 0, 0);
    let most = (at + 1 + EMAIL_DOMAIN).min(data.len());
    while end < most {
        let byte = data[end];
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            end += 1;
            label += 1;
        } else if end + 1 < most && is_pair(byte, data[end + 1]) {
            end += 2;
            label += 1;
        } else if byte == b'.' && label > 0 {
            end += 1;
            dots += 1;
            label = 0;
        } else {
            break;
        }
        if dots > 0 && label > 1 {
            best = Some((start, end));
        }
    }
    best
}

/// A letter of two bytes in UTF-8.
fn is_pair(first: u8, second: u8) -> bool {
    (0xc3..=0xdf).contains(&first) && (0x80..=0xbf).contains(&second)
}

/// `start` is where the `+` stands.
fn phone(data: &[u8], start: usize, past: usize) -> Option<(usize, usize)> {
    if start < past || (start > 0 && data[start - 1].is_ascii_alphanumeric()) {
        return None;
    }
    let (mut at, mut count, mut apart, mut best) = (start + 1, 0, 0, None);
    while let Some(&byte) = data.get(at) {
        if byte.is_ascii_digit() {
            count += 1;
            apart = 0;
            at += 1;
            if count > 15 {
                break;
            }
            if count >= 8 && !data.get(at).is_some_and(u8::is_ascii_digit) {
                best = Some((start, at));
            }
        } else if b" .-()/".contains(&byte) && apart < 3 {
            apart += 1;
            at += 1;
        } else {
            break;
        }
    }
    best
}

fn pem(data: &[u8], start: usize, past: usize, runs: &mut Runs) -> Option<(usize, usize)> {
    const LABEL: usize = 11; // `-----BEGIN `
    if start < past {
        return None;
    }
    let label = &data[start + LABEL..data.len().min(start + LABEL + 64)];
    let label_end = find(label, b"-----")?;
    find(&label[..label_end], b"PRIVATE KEY")?;
    let body = start + LABEL + label_end + 5;
    if let Some(end) = runs.pem_end(body).filter(|end| end - body <= PEM_MOST) {
        let tail = &data[end + 9..data.len().min(end + 9 + 64)];
        return Some((start, find(tail, b"-----").map_or(data.len().min(end + 9), |at| end + 9 + at + 5)));
    }
    // It does not end here: all that may be its body goes.
    let most = data.len().min(body + PEM_MOST);
    let mut end = body;
    while end < most && (data[end].is_ascii_alphanumeric() || b"+/=:,-_\\ \r\n\t".contains(&data[end])) {
        end += 1;
    }
    // A backslash at the end belongs to what follows.
    while end > body && data[end - 1] == b'\\' {
        end -= 1;
    }
    Some((start, end))
}

fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let (mut sum, mut count) = (0_u32, 0);
    for (i, digit) in digits.rev().enumerate() {
        let value = u32::from(digit - b'0') << (i % 2);
        sum += if value > 9 { value - 9 } else { value };
        count += 1;
    }
    count > 1 && sum % 10 == 0
}

/// ISO 7064 over letters and digits, the first four moved to the end.
fn mod97(text: &[u8]) -> bool {
    let rest = text[4..].iter().chain(&text[..4]).fold(0_u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' | b'+' => 62,
        b'_' | b'/' => 63,
        _ => return None,
    }))
}

/// Whether a token's first part is base64url of a JSON object that speaks of an algorithm.
fn is_jwt_header(text: &[u8]) -> bool {
    let header = &text[..text.iter().position(|&byte| byte == b'.').unwrap_or(text.len())];
    let header = &header[..header.len().min(JWT_HEADER)];
    let mut decoded = Vec::with_capacity(header.len());
    let (mut bits, mut held) = (0_u32, 0);
    for &byte in header {
        let Some(value) = sextet(byte) else { return false };
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    decoded.first() == Some(&b'{')
        && [&b"\"alg\""[..], b"\"enc\"", b"\"typ\""].iter().any(|name| find(&decoded, name).is_some())
}

/// None if it is none: then the bytes themselves are looked at.
fn int8_digits(value: &[u8]) -> Option<Vec<u8>> {
    value.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string().into_bytes())
}

/// The whole digits of a binary numeric: counts of digits and weight, sign, scale, then groups of four digits.
/// None if it is none.
fn numeric_digits(value: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let (&count, &weight) = (words.first()?, words.get(1)?);
    if value.len() != 8 + 2 * usize::from(count) {
        return None;
    }
    let groups = (weight as i16).max(-1) + 1;
    let mut text = String::new();
    for i in 0..groups.min(32) as usize {
        let group = if i < usize::from(count) { words.get(4 + i).copied().unwrap_or(0) } else { 0 };
        text += &if text.is_empty() && group == 0 { String::new() } else if text.is_empty() { group.to_string() } else { format!("{group:04}") };
    }
    Some(text.into_bytes())
}

fn nibble(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'A') + 10,
    }
}

/// An escape that takes the byte behind it along, at a terminal; elsewhere that byte begins a word. So both are looked at.
const BLANK: &[u8] = b"\x1b ";

/// `data` without what hides characters, and where each of its bytes begins and ends in `data`. `blank`: an escape and
/// a blank leave the byte behind them alone.
fn unveil(data: &[u8], blank: bool) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut view = Vec::with_capacity(data.len());
    let mut places = Vec::with_capacity(data.len());
    let mut at = 0;
    while at < data.len() {
        let rest = &data[at..];
        let (shown, length) = match rest {
            [0x1b, b' ', ..] if blank => (None, 2),
            [0x1b, ..] => (None, escape(rest)),
            [0xe2, 0x80, 0x8b..=0x8f, ..] | [0xe2, 0x81, 0xa0, ..] | [0xef, 0xbb, 0xbf, ..] => (None, 3),
            [0xc2, 0xad, ..] => (None, 2),
            [b'\\', b'/', ..] => (Some(b'/'), 2),
            [b'\\', b'u', b'0', b'0', high, low, ..]
                if matches!(high, b'2'..=b'7') && low.is_ascii_hexdigit() =>
            {
                (Some(nibble(*high) << 4 | nibble(*low)), 6)
            }
            [b'%', high, low, ..] if matches!(high, b'2'..=b'7') && low.is_ascii_hexdigit() => {
                (Some(nibble(*high) << 4 | nibble(*low)), 3)
            }
            _ => (Some(rest[0]), 1),
        };
        if let Some(byte) = shown {
            view.push(byte);
            places.push((at, at + length));
        }
        at += length;
    }
    (view, places)
}

/// The length of a terminal's escape sequence (ECMA-48): CSI, a string (OSC, DCS, …), or two or three bytes.
fn escape(data: &[u8]) -> usize {
    match data.get(1) {
        Some(b'[') => {
            let mut end = 2;
            while data.get(end).is_some_and(|byte| matches!(byte, 0x20..=0x3f)) {
                end += 1;
            }
            (end + 1).min(data.len())
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let mut end = 2;
            while end < data.len() && end < 4096 {
                match data[end] {
                    0x07 => return end + 1,
                    0x1b if data.get(end + 1) == Some(&b'\\') => return end + 2,
                    0x1b => return end,
                    _ => end += 1,
                }
            }
            end
        }
        Some(0x20..=0x2f) => 3.min(data.len()),
        Some(_) => 2,
        None => 1,
    }
}
