//! The common round trips, whole: one plain query with its answer, one extended-protocol query with its answer, and
//! several of these in a row (a train of cars), as pipelines send them.
//!
//! How this works: each function looks at a chunk and says `None` where it is anything else than exactly the shape that
//! it knows; the caller then takes the general way, which is written in Python
//! (`wicketgate_gateway/wire/postgres/{frontend,responses}.py`) and is the reference in differential tests. The audit
//! events are MessagePack as msgspec writes the structs of `wicketgate_gateway/audit/events.py`, but for the size of the
//! map's head. `wicketgate_gateway/session/express.py` uses this.

use crate::literals;

/// Longer texts and requests take the general way.
pub const MAX_TEXT: usize = 4096;
pub const MAX_REQUEST: usize = 16 * 1024;
/// Longer rows of queries take the general way, where each session has its share of a loop turn.
pub const MAX_CARS: usize = 64;
pub const MAX_TRAIN: usize = 64 * 1024;
const HEADER: usize = 5;

fn be32(data: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize)
}

fn be16(data: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?) as usize)
}

/// Where the message of type `kind` at `at` ends, if it is there and whole.
fn message(data: &[u8], at: usize, kind: u8) -> Option<usize> {
    if *data.get(at)? != kind {
        return None;
    }
    let end = at + 1 + be32(data, at + 1)?;
    (end >= at + HEADER && end <= data.len()).then_some(end)
}

/// The text of a chunk that is one Query message, and its key.
pub fn query(data: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    if data.len() > MAX_TEXT || message(data, 0, b'Q')? != data.len() || data.len() < HEADER + 2 || *data.last()? != 0 {
        return None;
    }
    let text = &data[HEADER..data.len() - 1];
    // A key stands for valid UTF-8 without NUL: what is outside of quotes is ASCII, what is inside was checked.
    literals::strip(text).map(|key| (text, key))
}

/// `[Parse] Bind [Describe] Execute [Sync]`, all of the unnamed portal.
#[derive(Debug, PartialEq, Eq)]
pub struct Extended<'a> {
    /// The Parse message; empty without one.
    pub parse: &'a [u8],
    /// The statement that Bind names; with a Parse, Parse names the same.
    pub statement: &'a [u8],
    pub formats: Vec<u8>,
    pub parameters: Vec<Option<&'a [u8]>>,
    pub result_formats: Vec<u8>,
    pub described: bool,
    pub sync: bool,
}

fn formats(data: &[u8], at: usize, end: usize) -> Option<(Vec<u8>, usize)> {
    let count = be16(data, at)?;
    let after = at + 2 + 2 * count;
    if after > end {
        return None;
    }
    let mut found = Vec::with_capacity(count);
    for pair in data[at + 2..after].chunks_exact(2) {
        if pair[0] != 0 || pair[1] > 1 {
            return None;
        }
        found.push(pair[1]);
    }
    Some((found, after))
}

fn nul(data: &[u8], start: usize, end: usize) -> Option<usize> {
    data.get(start..end)?.iter().position(|&byte| byte == 0).map(|at| start + at)
}

/// A chunk that is one of them, with its Sync.
pub fn extended(data: &[u8]) -> Option<Extended<'_>> {
    if data.len() > MAX_REQUEST {
        return None;
    }
    let (found, end) = unit(data, 0)?;
    (found.sync && end == data.len()).then_some(found)
}

/// A chunk that is some of them, the last with its Sync; and where each ends.
pub fn train(data: &[u8]) -> Option<Vec<(Extended<'_>, usize)>> {
    if data.len() > MAX_TRAIN {
        return None;
    }
    let mut cars = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let (car, end) = unit(data, at)?;
        if cars.len() == MAX_CARS {
            return None;
        }
        cars.push((car, end));
        at = end;
    }
    cars.last().is_some_and(|(car, _)| car.sync).then_some(cars)
}

fn unit(data: &[u8], start: usize) -> Option<(Extended<'_>, usize)> {
    let mut at = start;
    let mut parsed: Option<&[u8]> = None;
    if *data.get(at)? == b'P' {
        at = message(data, at, b'P')?;
        parsed = Some(&data[start + HEADER..nul(data, start + HEADER, at)?]);
    }
    let parse = &data[start..at];
    let bind_end = message(data, at, b'B')?;
    if *data.get(at + HEADER)? != 0 {
        return None;
    }
    let name = at + HEADER + 1;
    let name_end = nul(data, name, bind_end)?;
    let statement = &data[name..name_end];
    if parsed.is_some_and(|parsed| parsed != statement) || !statement.is_ascii() || statement.len() > 63 {
        return None;
    }
    let (parameter_formats, mut here) = formats(data, name_end + 1, bind_end)?;
    if here + 2 > bind_end {
        return None;
    }
    let count = be16(data, here)?;
    here += 2;
    if parameter_formats.len() > 1 && parameter_formats.len() != count {
        return None;
    }
    let mut parameters = Vec::with_capacity(count);
    for _ in 0..count {
        if here + 4 > bind_end {
            return None;
        }
        let length = be32(data, here)?;
        here += 4;
        if length == 0xFFFF_FFFF {
            parameters.push(None);
            continue;
        }
        if length > bind_end - here {
            return None;
        }
        parameters.push(Some(&data[here..here + length]));
        here += length;
    }
    let (result_formats, here) = formats(data, here, bind_end)?;
    if here != bind_end {
        return None;
    }
    at = bind_end;
    let described = data[at..].starts_with(b"D\0\0\0\x06P\0");
    if described {
        at += 7;
    }
    // Execute of the unnamed portal, all rows.
    if !data[at..].starts_with(b"E\0\0\0\x09\0\0\0\0\0") {
        return None;
    }
    at += 10;
    let sync = data[at..].starts_with(b"S\0\0\0\x04");
    if sync {
        at += HEADER;
    }
    let found = Extended { parse, statement, formats: parameter_formats, parameters, result_formats, described, sync };
    Some((found, at))
}

/// What of an answer the caller needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// From the command tag; `NO_ROWS` or `ENDS` for one without.
    pub rows: i64,
    /// Of ReadyForQuery; 0 if none is to come.
    pub status: u8,
    /// RowDescription's body; both 0 if there is none.
    pub description: (usize, usize),
    /// The DataRow messages.
    pub data_rows: (usize, usize),
}

/// The tag has no count, and means nothing for names.
pub const NO_ROWS: i64 = -1;
/// COMMIT or ROLLBACK: names of portals may mean less, or others.
pub const ENDS: i64 = -2;

/// The answer in `data` if it is `prefix [RowDescription | NoData] DataRow* CommandComplete ReadyForQuery` and no more.
///
/// Of tags only those that say a row count, and those of transactions, are known. `described`: whether the columns must be told (and
/// may be none), else they must not be; `simple`: they are told if there are rows.
pub fn answer(data: &[u8], prefix: &[u8], described: bool, simple: bool) -> Option<Answer> {
    let (found, end) = answer_at(data, 0, prefix, described, simple, true)?;
    (end == data.len()).then_some(found)
}

/// The answers to cars of these shapes (bits `PARSED`, `DESCRIBED`, `SYNCED`) that are there as a whole, in order, and
/// where each ends. It ends before the first that is anything else.
pub fn answers(data: &[u8], shapes: &[u8]) -> Vec<(Answer, usize)> {
    let mut found = Vec::with_capacity(shapes.len());
    let mut at = 0;
    for shape in shapes {
        let prefix: &[u8] = if shape & PARSED != 0 { PARSED_AND_BOUND } else { BOUND };
        let Some(next) = answer_at(data, at, prefix, shape & DESCRIBED != 0, false, shape & SYNCED != 0) else { break };
        at = next.1;
        found.push(next);
    }
    found
}

pub const PARSED: u8 = 1;
pub const DESCRIBED: u8 = 2;
pub const SYNCED: u8 = 4;
const PARSED_AND_BOUND: &[u8] = b"1\0\0\0\x042\0\0\0\x04";
const BOUND: &[u8] = b"2\0\0\0\x04";

fn answer_at(
    data: &[u8], start: usize, prefix: &[u8], described: bool, simple: bool, ready: bool,
) -> Option<(Answer, usize)> {
    if !data.get(start..)?.starts_with(prefix) {
        return None;
    }
    let mut at = start + prefix.len();
    let mut description = (0, 0);
    if *data.get(at)? == b'T' {
        if !described && !simple {
            return None;
        }
        let end = message(data, at, b'T')?;
        description = (at + HEADER, end);
        at = end;
    } else if described && !simple {
        if !data[at..].starts_with(b"n\0\0\0\x04") {
            return None;
        }
        at += HEADER;
    }
    let rows_start = at;
    while *data.get(at)? == b'D' {
        let end = message(data, at, b'D')?;
        if end < at + HEADER + 2 || ((described || simple) && description.1 == 0) {
            return None;
        }
        at = end;
    }
    let rows_end = at;
    let end = message(data, at, b'C')?;
    let rows = row_count(data.get(at + HEADER..end)?)?;
    let answer = Answer { rows, status: 0, description, data_rows: (rows_start, rows_end) };
    if !ready {
        return Some((answer, end));
    }
    if data.len() < end + 6 || !data[end..].starts_with(b"Z\0\0\0\x05") || !matches!(data[end + 5], b'I' | b'T') {
        return None;
    }
    Some((Answer { status: data[end + 5], ..answer }, end + 6))
}

fn row_count(body: &[u8]) -> Option<i64> {
    let tag = body.strip_suffix(b"\0")?;
    match tag {
        b"BEGIN" | b"SAVEPOINT" | b"RELEASE" => return Some(NO_ROWS),
        b"COMMIT" | b"ROLLBACK" => return Some(ENDS),
        _ => {}
    }
    let count = [&b"SELECT "[..], b"INSERT 0 ", b"UPDATE ", b"DELETE "].iter().find_map(|kind| tag.strip_prefix(*kind))?;
    if count.is_empty() || count.len() > 15 || !count.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(count.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

// MessagePack: https://github.com/msgpack/msgpack/blob/master/spec.md

fn put_u64(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7F => out.push(value as u8),
        0x80..=0xFFFF_FFFF => {
            out.push(0xCE);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xCF);
            out.extend(value.to_be_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    // `kind` is the 32-bit form: 0xC6 for bytes, 0xDB for text.
    out.push(kind);
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

fn put_array(out: &mut Vec<u8>, count: usize) {
    out.push(0xDD);
    out.extend((count as u32).to_be_bytes());
}

/// `head` is the map's entries that are the same throughout a session, `tail` those of the decision.
pub struct Event<'a> {
    pub head: &'a [u8],
    pub head_entries: usize,
    pub tail: &'a [u8],
    pub tail_entries: usize,
}

impl Event<'_> {
    fn start(&self, more: usize, now: u64, seq: u64, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + self.tail.len() + room + 64);
        out.push(0xDE);
        out.extend(((self.head_entries + self.tail_entries + more + 2) as u16).to_be_bytes());
        out.extend(self.head);
        out.extend(b"\xA4time");
        put_u64(&mut out, now);
        out.extend(b"\xA3seq");
        put_u64(&mut out, seq);
        out
    }

    /// An `Operation`, with its text if that is not within `tail`, and its parameters if it can have any.
    pub fn operation(&self, now: u64, seq: u64, text: Option<&[u8]>, bound: Option<&Extended<'_>>) -> Vec<u8> {
        let has_formats = bound.is_some_and(|bound| !bound.formats.is_empty());
        let more = usize::from(text.is_some()) + usize::from(bound.is_some()) + usize::from(has_formats);
        let mut out = self.start(more, now, seq, text.map_or(256, <[u8]>::len));
        if let Some(text) = text {
            out.extend(b"\xA9statement");
            put_bytes(&mut out, 0xDB, text);
        }
        if let Some(bound) = bound {
            out.extend(b"\xAAparameters");
            put_array(&mut out, bound.parameters.len());
            for parameter in &bound.parameters {
                match parameter {
                    None => out.push(0xC0),
                    Some(value) => put_bytes(&mut out, 0xC6, value),
                }
            }
            if has_formats {
                out.extend(b"\xA7formats");
                put_array(&mut out, bound.formats.len());
                out.extend(&bound.formats);
            }
        }
        out.extend(self.tail);
        out
    }

    /// An `OperationFinished`, whose outcome stands in `tail`; without `rows` if they are negative.
    pub fn finished(&self, now: u64, seq: u64, rows: i64, duration_us: u64) -> Vec<u8> {
        let counted = u64::try_from(rows).ok();
        let mut out = self.start(1 + usize::from(counted.is_some()), now, seq, 32);
        if let Some(rows) = counted {
            out.extend(b"\xA4rows");
            put_u64(&mut out, rows);
        }
        out.extend(b"\xABduration_us");
        put_u64(&mut out, duration_us);
        out.extend(self.tail);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn takes_one_plain_query_and_nothing_else() {
        let one = wire(b'Q', b"SELECT 12\0");
        assert_eq!(query(&one), Some((&b"SELECT 12"[..], b"SELECT \x02".to_vec())));
        assert_eq!(query(&[one.clone(), one.clone()].concat()), None);
        assert_eq!(query(&one[..one.len() - 1]), None);
        assert_eq!(query(&wire(b'Q', b"SELECT 1\0;\0")), None);
        assert_eq!(query(&wire(b'Q', b"SELECT 1")), None);
    }

    #[test]
    fn takes_an_extended_query_by_its_shape() {
        let bind = wire(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xFF\xFF\xFF\xFF\0\0");
        let rest = [&b"D\0\0\0\x06P\0"[..], b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"].concat();
        let whole = [bind.clone(), rest.clone()].concat();
        let found = extended(&whole).unwrap();
        assert_eq!((found.parse, found.statement, found.described), (&b""[..], &b"s"[..], true));
        assert_eq!(found.parameters, vec![Some(&b"x"[..]), None]);
        assert_eq!((found.formats, found.result_formats), (vec![1], vec![]));
        let parse = wire(b'P', b"s\0SELECT $1\0\0\0");
        assert_eq!(extended(&[parse.clone(), whole.clone()].concat()).unwrap().parse, parse);
        assert_eq!(extended(&[wire(b'P', b"t\0SELECT 1\0\0\0"), whole.clone()].concat()), None);
        for cut in 0..whole.len() {
            assert_eq!(extended(&whole[..cut]), None);
        }
        assert_eq!(extended(&[whole.clone(), b"S\0\0\0\x04".to_vec()].concat()), None);
        let car = &whole[..whole.len() - 5];
        let two = [&parse, car, &whole].concat();
        let cars = train(&two).unwrap();
        let shapes: Vec<_> = cars.iter().map(|(car, end)| (car.parse.len(), car.sync, *end)).collect();
        assert_eq!(shapes, [(parse.len(), false, parse.len() + car.len()), (0, true, two.len())]);
        assert_eq!(train(car), None, "nothing would be answered for sure");
        for cut in 1..two.len() {
            assert_eq!(train(&two[..cut]), None);
        }
        assert_eq!(train(&whole.repeat(MAX_CARS)).unwrap().len(), MAX_CARS);
        assert_eq!(train(&whole.repeat(MAX_CARS + 1)), None);
    }

    #[test]
    fn takes_the_answers_that_are_whole() {
        let first = [PARSED_AND_BOUND.to_vec(), wire(b'C', b"BEGIN\0")].concat();
        let second = [BOUND.to_vec(), wire(b'T', b"\0\0"), wire(b'D', b"\0\0"), wire(b'C', b"SELECT 1\0")].concat();
        let third = [BOUND.to_vec(), wire(b'C', b"COMMIT\0"), wire(b'Z', b"I")].concat();
        let whole = [first.clone(), second.clone(), third].concat();
        let shapes = [PARSED, DESCRIBED, SYNCED];
        let found = answers(&whole, &shapes);
        let said: Vec<_> = found.iter().map(|(answer, end)| (answer.rows, answer.status, *end)).collect();
        let (one, two) = (first.len(), first.len() + second.len());
        assert_eq!(said, [(NO_ROWS, 0, one), (1, 0, two), (ENDS, b'I', whole.len())]);
        for cut in 0..whole.len() {
            let many = usize::from(cut >= one) + usize::from(cut >= two);
            assert_eq!(answers(&whole[..cut], &shapes).len(), many);
        }
        assert_eq!(answers(&whole, &[PARSED, SYNCED]).len(), 1);
    }

    #[test]
    fn takes_a_whole_answer_only() {
        let rows = wire(b'D', b"\0\x01\0\0\0\x01x");
        let end = [wire(b'C', b"SELECT 1\0"), wire(b'Z', b"I")].concat();
        let whole = [wire(b'T', b"\0\0"), rows.clone(), end.clone()].concat();
        let found = answer(&whole, b"", false, true).unwrap();
        assert_eq!((found.rows, found.status, found.description, found.data_rows), (1, b'I', (5, 7), (7, 19)));
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole[..cut], b"", false, true), None);
        }
        let untold = [rows, end].concat();
        assert_eq!(answer(&untold, b"", false, true), None);
        assert_eq!(answer(&untold, b"", true, false), None);
        assert!(answer(&untold, b"", false, false).is_some());
        assert_eq!(answer(&[wire(b'C', b"DISCARD ALL\0"), wire(b'Z', b"I")].concat(), b"", false, true), None);
        let rollback = [wire(b'C', b"ROLLBACK\0"), wire(b'Z', b"I")].concat();
        assert_eq!(answer(&rollback, b"", false, true).unwrap().rows, ENDS);
        assert_eq!(answer(&[wire(b'C', b"SELECT 1\0"), wire(b'Z', b"E")].concat(), b"", false, true), None);
    }
}
