//! `detect` as Python sees it: tables in, hits out.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::detect::{Confirm, Matcher, Scanner as Inner, Step, Token};

/// Larger values are scanned without the GIL.
const RELEASE_BYTES: usize = 4096;

type PyStep = (Option<Vec<u8>>, usize, usize, usize);
type PyToken = (u32, String, String, usize, Vec<PyStep>, usize, String, bool);
type PyHits = Vec<(usize, usize, u32)>;
type PyFound = (usize, usize, usize, usize, usize, PyHits);

/// Scanner(tokens, own, classes, countries, issuers, /) -- compiled detectors; see `masking/detectors_native.py`.
///
/// Raises ValueError for a pattern that the engine does not take.
#[pyclass(frozen, module = "wicketgate_native")]
pub struct Scanner(Inner);

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (tokens, own, classes, countries, issuers, /))]
    fn new(
        tokens: Vec<PyToken>,
        own: Vec<(u32, String, String)>,
        classes: Vec<Vec<u8>>,
        countries: Vec<(String, usize)>,
        issuers: Vec<(u32, u32, u32)>,
    ) -> PyResult<Self> {
        let wrong = |what: String| PyValueError::new_err(what);
        let confirm = |name: &str| Confirm::named(name).ok_or_else(|| wrong(format!("no check is called {name}")));
        let count = classes.len();
        let tokens = tokens
            .into_iter()
            .map(|(detector, trigger, matcher, back, steps, shown, check, apart)| {
                let matcher = match matcher.as_str() {
                    "steps" => Matcher::Steps,
                    "card" => Matcher::Card,
                    "iban" => Matcher::Iban,
                    "email" => Matcher::Email,
                    "phone" => Matcher::Phone,
                    "pem" => Matcher::Pem,
                    other => return Err(wrong(format!("no matcher is called {other}"))),
                };
                let steps = steps
                    .into_iter()
                    .map(|(literal, class, least, most)| match literal {
                        Some(text) => Ok(Step::Literal(text)),
                        None if class < count => Ok(Step::Run(class, least, most)),
                        None => Err(wrong("no such class".into())),
                    })
                    .collect::<PyResult<Vec<_>>>()?;
                Ok(Token { detector, trigger, matcher, back, steps, shown, confirm: confirm(&check)?, apart })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let own = own
            .into_iter()
            .map(|(detector, pattern, check)| Ok((detector, pattern, confirm(&check)?)))
            .collect::<PyResult<Vec<_>>>()?;
        let classes = classes
            .into_iter()
            .map(|members| {
                let mut class = [false; 256];
                members.into_iter().for_each(|byte| class[byte as usize] = true);
                class
            })
            .collect();
        let countries = countries
            .into_iter()
            .map(|(code, length)| Ok((code.as_bytes().try_into().map_err(|_| wrong("no country code".into()))?, length)))
            .collect::<PyResult<Vec<_>>>()?;
        Inner::new(tokens, &own, classes, countries, issuers).map(Self).map_err(wrong)
    }

    /// scan(data, /) -- all hits: start, end, detector; by start, longest first. Linear in `data`.
    #[pyo3(signature = (data, /))]
    fn scan(&self, py: Python<'_>, data: &[u8]) -> PyHits {
        if data.len() < RELEASE_BYTES {
            self.0.scan(data)
        } else {
            py.detach(|| self.0.scan(data))
        }
    }

    /// rows(data, start, special, /) -- where the whole DataRow messages from `start` on end, and their fields with hits.
    ///
    /// Each as (row start, row end, column, value start, value end, hits), the hits counted from the value's start.
    /// `special` are columns with numbers in binary format: (column, whether numeric, else int8). Raises ValueError for
    /// malformed rows.
    #[pyo3(signature = (data, start, special, /))]
    fn rows(
        &self,
        py: Python<'_>,
        data: &[u8],
        start: usize,
        special: Vec<(usize, bool)>,
    ) -> PyResult<(usize, Vec<PyFound>)> {
        let slice = data.get(start..).ok_or_else(|| PyValueError::new_err("out of range"))?;
        let found = if slice.len() < RELEASE_BYTES {
            self.0.rows(slice, &special)
        } else {
            py.detach(|| self.0.rows(slice, &special))
        };
        let (end, found) = found.ok_or_else(malformed)?;
        let fields = found.into_iter().map(|f| {
            let (row, value) = (f.row, f.value);
            (start + row.0, start + row.1, f.column, start + value.0, start + value.1, f.hits)
        });
        Ok((start + end, fields.collect()))
    }

    /// mask(data, special, columns, simple, other, /) -- the whole DataRow messages `data` masked, None if none has a hit.
    ///
    /// `columns` has an `s` for each column in whose text hits can be replaced as they stand, and for each detector
    /// `simple` has an `r` if its finds are redacted. All other fields with hits go to `other(column, value, hits)`, which
    /// gives the value or None. Raises ValueError for malformed rows.
    #[pyo3(signature = (data, special, columns, simple, other, /))]
    fn mask<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        special: Vec<(usize, bool)>,
        columns: &[u8],
        simple: &[u8],
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let rows = if data.len() < RELEASE_BYTES {
            self.0.rows(data, &special)
        } else {
            py.detach(|| self.0.rows(data, &special))
        };
        let (end, found) = rows.ok_or_else(malformed)?;
        if end != data.len() {
            return Err(malformed());
        }
        if found.is_empty() {
            return Ok(None);
        }
        let mut out: Vec<u8> = Vec::with_capacity(data.len() + data.len() / 8);
        let (mut copied, mut next) = (0, 0);
        while next < found.len() {
            let row = found[next].row;
            out.extend_from_slice(&data[copied..row.0]);
            let begin = out.len();
            copied = row.0;
            while next < found.len() && found[next].row == row {
                let field = &found[next];
                let value = &data[field.value.0..field.value.1];
                out.extend_from_slice(&data[copied..field.value.0 - 4]);
                copied = field.value.1;
                let place = out.len();
                out.extend((-1_i32).to_be_bytes());
                let plain = columns.get(field.column) == Some(&b's')
                    && field.hits.iter().all(|hit| simple.get(hit.2 as usize) == Some(&b'r'))
                    && !value.contains(&b'\\');
                let some = if plain {
                    redact(value, &field.hits, &mut out);
                    true
                } else {
                    let masked = other.call1((field.column, PyBytes::new(py, value), field.hits.clone()))?;
                    match masked.is_none() {
                        true => false,
                        false => {
                            out.extend_from_slice(masked.cast::<PyBytes>()?.as_bytes());
                            true
                        }
                    }
                };
                if some {
                    let size = (out.len() - place - 4) as u32;
                    out[place..place + 4].copy_from_slice(&size.to_be_bytes());
                }
                next += 1;
            }
            out.extend_from_slice(&data[copied..row.1]);
            copied = row.1;
            let size = (out.len() - begin - 1) as u32;
            out[begin + 1..begin + 5].copy_from_slice(&size.to_be_bytes());
        }
        out.extend_from_slice(&data[copied..]);
        Ok(Some(PyBytes::new(py, &out)))
    }
}

/// The hits (by start) of a value replaced, overlapping ones as one.
fn redact(value: &[u8], hits: &[(usize, usize, u32)], out: &mut Vec<u8>) {
    let (mut copied, mut next) = (0, 0);
    while next < hits.len() {
        let (start, mut end, _) = hits[next];
        next += 1;
        while next < hits.len() && hits[next].0 < end {
            end = end.max(hits[next].1);
            next += 1;
        }
        out.extend_from_slice(&value[copied..start]);
        out.extend_from_slice("\u{2022}\u{2022}\u{2022}".as_bytes());
        copied = end;
    }
    out.extend_from_slice(&value[copied..]);
}

fn malformed() -> PyErr {
    PyValueError::new_err("malformed rows")
}
