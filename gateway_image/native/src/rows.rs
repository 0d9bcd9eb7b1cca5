//! Rows of a bulk answer that are passed on as they are: only their heads are looked at.
//!
//! The twin is `rows_end_twin` in `wicketgate_gateway/wire/postgres/rows.py`.

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

#[cfg(test)]
mod tests {
    use super::rows_end;

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
