//! Cache keys: a statement's text without its plain literals.
//!
//! How this works: one pass over the bytes. A plain `'…'` becomes STRING, a plain number INTEGER or NUMBER; all else is
//! copied. The placeholders are control characters, which no copied text can hold. Whatever could make the text mean
//! something else than it seems (comments, dollar quotes, escapes, prefixes, bytes outside ASCII, odd numbers) gives
//! `None`: such a text is not cached. The twin is `wicketgate_gateway/wire/postgres/sql/literals.py`.

const STRING: u8 = 1;
const INTEGER: u8 = 2;
const NUMBER: u8 = 3;
/// Whole numbers of more digits may not fit an int4, and those are other tokens to the grammar.
const MAX_INTEGER_DIGITS: usize = 9;

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The key of `sql`, or `None`.
pub fn strip(sql: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(sql.len());
    let mut at = 0;
    while let Some(&byte) = sql.get(at) {
        at = match byte {
            b'\'' => {
                out.push(STRING);
                end_of_string(sql, at)?
            }
            b'"' => copy(&mut out, sql, at, end_of_quoted_name(sql, at)?),
            b'0'..=b'9' => {
                let (end, placeholder) = end_of_number(sql, at)?;
                out.push(placeholder);
                end
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => copy(&mut out, sql, at, end_of_word(sql, at)?),
            b'$' => copy(&mut out, sql, at, end_of_parameter(sql, at)?),
            b'-' if sql.get(at + 1) == Some(&b'-') => return None,
            b'/' if sql.get(at + 1) == Some(&b'*') => return None,
            b'.' if sql.get(at + 1).is_some_and(u8::is_ascii_digit) => return None,
            b' '..=b'~' if byte != b'\\' && byte != b'`' => copy(&mut out, sql, at, at + 1),
            _ if is_blank(byte) => copy(&mut out, sql, at, at + 1),
            _ => return None,
        };
    }
    Some(out)
}

fn copy(out: &mut Vec<u8>, sql: &[u8], start: usize, end: usize) -> usize {
    out.extend_from_slice(&sql[start..end]);
    end
}

/// Past a `'…'` in which `''` stands for one quote.
fn end_of_string(sql: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match sql.get(at)? {
            b'\'' if sql.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => break,
            b'\\' | 0 => return None,
            _ => at += 1,
        }
    }
    at += 1;
    std::str::from_utf8(&sql[start..at]).ok()?;
    // `'a'x` is legal to the lexer, and easy to get wrong.
    (!sql.get(at).is_some_and(|&next| is_word(next) || next == b'"' || next >= 0x80)).then_some(at)
}

fn end_of_quoted_name(sql: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match sql.get(at)? {
            b'"' if sql.get(at + 1) == Some(&b'"') => at += 2,
            b'"' => break,
            0..=31 | 127 => return None,
            _ => at += 1,
        }
    }
    at += 1;
    std::str::from_utf8(&sql[start..at]).ok()?;
    (!sql.get(at).is_some_and(|&next| is_word(next) || next == b'\'' || next == b'"' || next >= 0x80)).then_some(at)
}

/// A word directly before a quote may be a prefix (`E''`, `U&""`), one with `$` in it is rare: both give `None`.
fn end_of_word(sql: &[u8], start: usize) -> Option<usize> {
    let end = (start..sql.len()).find(|&at| !is_word(sql[at])).unwrap_or(sql.len());
    let next = sql.get(end).copied().unwrap_or(b' ');
    let prefix = matches!(next, b'\'' | b'"') || (next == b'&' && matches!(sql.get(end + 1), Some(b'\'' | b'"')));
    let odd = next >= 0x80 || sql[start..end].contains(&b'$');
    (!prefix && !odd).then_some(end)
}

fn end_of_parameter(sql: &[u8], start: usize) -> Option<usize> {
    let end = digits(sql, start + 1);
    let next = sql.get(end).copied().unwrap_or(b' ');
    (end > start + 1 && !is_word(next) && next < 0x80).then_some(end)
}

fn digits(sql: &[u8], start: usize) -> usize {
    (start..sql.len()).find(|&at| !sql[at].is_ascii_digit()).unwrap_or(sql.len())
}

fn end_of_number(sql: &[u8], start: usize) -> Option<(usize, u8)> {
    let whole = digits(sql, start);
    let mut end = whole;
    if sql.get(whole) == Some(&b'.') {
        end = digits(sql, whole + 1);
        if end == whole + 1 {
            return None;
        }
    }
    let next = sql.get(end).copied().unwrap_or(b' ');
    if is_word(next) || matches!(next, b'.' | b'\'' | b'"') || next >= 0x80 {
        return None;
    }
    let integer = end == whole && whole - start <= MAX_INTEGER_DIGITS;
    Some((end, if integer { INTEGER } else { NUMBER }))
}

#[cfg(test)]
mod tests {
    use super::strip;

    fn key(sql: &str) -> Option<String> {
        strip(sql.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn replaces_plain_literals_only() {
        assert_eq!(key("SELECT 'it''s', 12, 1.5, $1 FROM \"T\"").unwrap(), "SELECT \u{1}, \u{2}, \u{3}, $1 FROM \"T\"");
        assert_eq!(key("t1.c2 = 12345678901").unwrap(), "t1.c2 = \u{3}");
    }

    #[test]
    fn gives_up_on_anything_odd() {
        for sql in [
            "E'a'", "U&\"a\"", "'a\\'", "a--b", "a/*b*/", "$$a$$", "$a$b$a$", "'a", "1e5", "0x1F", "é", "1_0", "a\u{1}",
        ] {
            assert_eq!(key(sql), None, "{sql}");
        }
    }
}
