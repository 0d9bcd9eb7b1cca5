//! Rows of a bulk answer: passed on as they are (only their heads are looked at), or with columns masked.
//!
//! The twins are in `wicketgate_gateway/wire/postgres/rows.py` and `wicketgate_gateway/masking/rows.py`.

const DATA_ROW: u8 = b'D';
const HEADER: usize = 5;
/// Length field of the smallest DataRow: itself and the number of columns.
const SMALLEST: usize = 6;

/// Where the DataRow messages from `start` on end: behind `data` if the last one is not complete. The head of the first
/// is not checked for its type. `None` if a length is impossible.
pub fn rows_end(data: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = data.get(at + 1..at + HEADER)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        if length < SMALLEST {
            return None;
        }
        at += 1 + length;
        if at + HEADER > data.len() || data[at] != DATA_ROW {
            return Some(at);
        }
    }
}

/// Where the last DataRow message from `start` on ends that is there as a whole.
pub fn whole_rows_end(data: &[u8], start: usize) -> usize {
    let mut at = start;
    while at + HEADER <= data.len() && data[at] == DATA_ROW {
        let length = u32::from_be_bytes([data[at + 1], data[at + 2], data[at + 3], data[at + 4]]) as usize;
        if length < SMALLEST || length > data.len() - at - 1 {
            break;
        }
        at += 1 + length;
    }
    at
}

/// What becomes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Pass,
    Null,
    Redact,
    Partial,
    /// The caller masks it.
    Other,
}

impl Column {
    /// `-` passes, `n` gives NULL, `r` redacts, `p` shows a part, `o` asks the caller.
    pub fn read(code: u8) -> Option<Column> {
        Some(match code {
            b'-' => Column::Pass,
            b'n' => Column::Null,
            b'r' => Column::Redact,
            b'p' => Column::Partial,
            b'o' => Column::Other,
            _ => return None,
        })
    }
}

/// Why rows cannot be masked.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong<E> {
    Shape,
    Length,
    Short,
    Long,
    Caller(E),
}

impl<E> Wrong<E> {
    pub fn message(&self) -> &'static str {
        match self {
            Wrong::Shape => "the server sent a row of another shape than described",
            Wrong::Length => "the server sent a row with an impossible length",
            Wrong::Short => "the server sent a row that is cut short",
            Wrong::Long => "the server sent a row that is longer than its columns",
            Wrong::Caller(_) => "a mask failed",
        }
    }
}

const REDACTED: &str = "\u{2022}\u{2022}\u{2022}";
const SHOWN: usize = 4;
const SHORT: usize = 8;
const MOST: usize = 32;
const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// All of `data`, which is whole DataRow messages, with their columns masked. `other` gets a column's number, its value
/// and where the masked value is to be appended; it gives whether there is one (else it is NULL).
pub fn mask<E>(
    data: &[u8], columns: &[Column], mut other: impl FnMut(usize, &[u8], &mut Vec<u8>) -> Result<bool, E>,
) -> Result<Vec<u8>, Wrong<E>> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 8);
    let mut row = 0;
    while row < data.len() {
        let head = data.get(row..row + HEADER + 2).ok_or(Wrong::Short)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let end = row + 1 + length;
        if head[0] != DATA_ROW || length < SMALLEST || end > data.len() {
            return Err(Wrong::Short);
        }
        if usize::from(u16::from_be_bytes([head[5], head[6]])) != columns.len() {
            return Err(Wrong::Shape);
        }
        let begin = out.len();
        let mut copied = row;
        let mut at = row + HEADER + 2;
        for (number, column) in columns.iter().enumerate() {
            let after = at + 4;
            if after > end {
                return Err(Wrong::Short);
            }
            let length = i32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
            if length < 0 {
                if length != -1 {
                    return Err(Wrong::Length);
                }
                at = after;
                continue;
            }
            let next = after + length as usize;
            if next > end {
                return Err(Wrong::Short);
            }
            if *column != Column::Pass {
                out.extend_from_slice(&data[copied..at]);
                copied = next;
                let place = out.len();
                out.extend(NULL);
                let value = &data[after..next];
                let some = match column {
                    Column::Null | Column::Pass => false,
                    Column::Redact => {
                        out.extend(REDACTED.as_bytes());
                        true
                    }
                    Column::Partial => match std::str::from_utf8(value) {
                        Ok(text) => {
                            partial(text, &mut out);
                            true
                        }
                        // How broken text is read is for one place to say.
                        Err(_) => other(number, value, &mut out).map_err(Wrong::Caller)?,
                    },
                    Column::Other => other(number, value, &mut out).map_err(Wrong::Caller)?,
                };
                if some {
                    let size = (out.len() - place - 4) as u32;
                    out[place..place + 4].copy_from_slice(&size.to_be_bytes());
                } else {
                    out.truncate(place + 4);
                }
            }
            at = next;
        }
        if at != end {
            return Err(Wrong::Long);
        }
        out.extend_from_slice(&data[copied..end]);
        let size = (out.len() - begin - 1) as u32;
        out[begin + 1..begin + HEADER].copy_from_slice(&size.to_be_bytes());
        row = end;
    }
    Ok(out)
}

/// The twin is `partial` in `wicketgate_gateway/masking/text.py`.
fn partial(text: &str, out: &mut Vec<u8>) {
    if let Some((local, domain)) = text.rsplit_once('@') {
        if !local.is_empty() && domain.contains('.') && !text.contains(' ') {
            let mut chars = local.chars();
            let first = chars.next();
            if let (Some(first), Some(_)) = (first, chars.next()) {
                out.extend(first.encode_utf8(&mut [0; 4]).as_bytes());
            }
            out.extend(b"***@");
            out.extend(domain.as_bytes());
            return;
        }
    }
    let count = text.chars().count();
    if count < SHORT {
        out.resize(out.len() + count, b'*');
        return;
    }
    out.resize(out.len() + (count - SHOWN).min(MOST), b'*');
    let shown = text.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    out.extend(text[shown..].as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(values: &[Option<&str>]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            match value {
                None => body.extend(NULL),
                Some(value) => {
                    body.extend((value.len() as u32).to_be_bytes());
                    body.extend(value.as_bytes());
                }
            }
        }
        let mut out = vec![b'D'];
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend(body);
        out
    }

    fn none(_: usize, _: &[u8], _: &mut Vec<u8>) -> Result<bool, ()> {
        Err(())
    }

    #[test]
    fn masks_columns_of_each_row() {
        use Column::*;
        let data = [wire(&[Some("ann@b.example"), Some("1"), None]), wire(&[Some("4111111111111111"), None, Some("x")])];
        let wanted = [wire(&[Some("a***@b.example"), None, None]), wire(&[Some("************1111"), None, Some("x")])];
        assert_eq!(mask(&data.concat(), &[Partial, Null, Pass], none), Ok(wanted.concat()));
        let kept = |_: usize, value: &[u8], out: &mut Vec<u8>| -> Result<bool, ()> {
            out.extend(value);
            Ok(true)
        };
        assert_eq!(mask(&data.concat(), &[Other, Pass, Pass], kept), Ok(data.concat()));
        assert_eq!(mask(&data.concat(), &[Other, Pass, Pass], none), Err(Wrong::Caller(())));
    }

    #[test]
    fn refuses_rows_that_do_not_fit() {
        let row = wire(&[Some("abc")]);
        assert_eq!(mask(&row, &[Column::Redact, Column::Pass], none), Err(Wrong::Shape));
        assert_eq!(mask(&row[..row.len() - 1], &[Column::Redact], none), Err(Wrong::Short));
        let mut long = row.clone();
        long.push(0);
        long[4] += 1;
        assert_eq!(mask(&long, &[Column::Redact], none), Err(Wrong::Long));
        let mut odd = row.clone();
        odd[7..11].copy_from_slice(&(-2i32).to_be_bytes());
        assert_eq!(mask(&odd, &[Column::Redact], none), Err(Wrong::Length));
    }

    #[test]
    fn finds_the_end_of_whole_rows() {
        let data = [row(2), row(300), b"C\0\0\0\x04".to_vec()].concat();
        assert_eq!(whole_rows_end(&data, 0), 7 + 305);
        assert_eq!(whole_rows_end(&data[..311], 0), 7);
        assert_eq!(whole_rows_end(&data[..3], 0), 0);
    }

    fn row(body: usize) -> Vec<u8> {
        let mut row = vec![b'D'];
        row.extend(u32::try_from(body + 4).unwrap().to_be_bytes());
        row.resize(5 + body, 0);
        row
    }

    #[test]
    fn walks_from_head_to_head() {
        let mut data = [row(2), row(300)].concat();
        assert_eq!(rows_end(&data, 0), Some(data.len()));
        data.extend(b"C\0\0\0\x0dSELECT 2\0");
        assert_eq!(rows_end(&data, 0), Some(7 + 305));
        assert_eq!(rows_end(&data[..100], 0), Some(7 + 305));
        assert_eq!(rows_end(&data[..9], 0), Some(7));
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert_eq!(rows_end(&row(1), 0), None);
        assert_eq!(rows_end(b"D\0\0", 0), None);
    }
}
