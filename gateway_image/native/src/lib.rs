//! Wicketgate's native core: bytes in, bytes out; no I/O, no policy, no state.
//!
//! `parse` is PostgreSQL's own grammar (libpg_query), `strip_literals` the scanner that makes cache keys, `rows_end` walks
//! over rows that nobody looks at. Each has a twin in Python (`wicketgate_gateway.wire.postgres`), which is the reference
//! in differential tests.

mod express;
mod detect;
mod detect_py;
mod literals;
mod parser;
mod rows;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

pyo3::create_exception!(wicketgate_native, ParseError, PyException);

/// parse(sql, /) -- the parse tree as the protobuf message `pg_query.ParseResult`.
///
/// Raises ParseError(message, cursorpos), with a 1-based position in characters, 0 if unknown; ValueError for a text
/// with a NUL byte or invalid UTF-8. The GIL is released meanwhile.
#[pyfunction]
#[pyo3(signature = (sql, /))]
fn parse<'py>(sql: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = sql.py();
    let text = match sql.cast::<PyBytes>() {
        Ok(bytes) => std::str::from_utf8(bytes.as_bytes()).map_err(|_| PyValueError::new_err("invalid UTF-8"))?,
        Err(_) => sql.cast::<PyString>()?.to_str().map_err(|_| PyValueError::new_err("invalid Unicode"))?,
    };
    let result = py.detach(|| parser::parse(text));
    match result {
        Ok(tree) => Ok(PyBytes::new(py, &tree)),
        Err(parser::Failure::Nul) => Err(PyValueError::new_err("the text holds a NUL byte")),
        Err(parser::Failure::Syntax { message, cursor }) => Err(ParseError::new_err((message, cursor))),
    }
}

/// strip_literals(sql, /) -- the text with its plain literals replaced, or None where anything is out of the ordinary.
#[pyfunction]
#[pyo3(signature = (sql, /))]
fn strip_literals<'py>(py: Python<'py>, sql: &[u8]) -> Option<Bound<'py, PyBytes>> {
    literals::strip(sql).map(|key| PyBytes::new(py, &key))
}

/// rows_end(data, start, /) -- where the DataRow messages from `start` on end: behind `data` if the last is not complete.
///
/// None if a length is impossible.
#[pyfunction]
#[pyo3(signature = (data, start, /))]
fn rows_end(data: &[u8], start: usize) -> Option<usize> {
    rows::rows_end(data, start)
}

/// whole_rows_end(data, start, /) -- where the last DataRow message from `start` on ends that is there as a whole.
#[pyfunction]
#[pyo3(signature = (data, start, /))]
fn whole_rows_end(data: &[u8], start: usize) -> usize {
    rows::whole_rows_end(data, start)
}

/// Chunks over this many bytes are masked without the interpreter's lock.
const LARGE: usize = 16 * 1024;

/// mask_rows(data, start, end, columns, other, /) -- the whole DataRow messages in `data[start:end]`, masked.
///
/// `columns` has a code for each column (see `rows::Column::read`); `other` a function for each, or None, that gives the
/// masked value or None. Raises ValueError for a row that is malformed.
#[pyfunction]
#[pyo3(signature = (data, start, end, columns, other, /))]
fn mask_rows<'py>(
    py: Python<'py>, data: &[u8], start: usize, end: usize, columns: &[u8], other: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyBytes>> {
    let data = data.get(start..end).ok_or_else(|| PyValueError::new_err("no such place"))?;
    let read: Option<Vec<_>> = columns.iter().map(|&code| rows::Column::read(code)).collect();
    let columns = read.ok_or_else(|| PyValueError::new_err("no such kind of column"))?;
    if data.len() > LARGE && !columns.contains(&rows::Column::Other) {
        // Should a value be for the caller all the same, it is done again below.
        if let Ok(masked) = py.detach(|| rows::mask(data, &columns, |_, _, _| Err(()))) {
            return Ok(PyBytes::new(py, &masked));
        }
    }
    let masked = rows::mask(data, &columns, |number, value, out| {
        let found = other.get_item(number)?.call1((PyBytes::new(py, value),))?;
        if found.is_none() {
            return Ok(false);
        }
        out.extend(found.cast_into::<PyBytes>()?.as_bytes());
        Ok(true)
    });
    match masked {
        Ok(rows) => Ok(PyBytes::new(py, &rows)),
        Err(rows::Wrong::Caller(error)) => Err(error),
        Err(wrong) => Err(PyValueError::new_err(wrong.message())),
    }
}

type Looked<'py> = PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyBytes>)>>;

/// What an entry of a table holds for an event: MessagePack, and how many entries of a map that is.
fn tail_of<'a>(entry: &'a Bound<'_, PyTuple>) -> PyResult<(Bound<'a, PyBytes>, usize)> {
    let tail = entry.get_item(1)?.cast_into::<PyBytes>()?;
    Ok((tail, entry.get_item(2)?.extract()?))
}

/// express_query(data, table, head, now, seq, /) -- (entry, event) of a chunk that is one plain Query known to `table`.
///
/// `table` maps keys (`strip_literals`) to tuples of which items 1 and 2 are the event's tail; `head` has two entries.
#[pyfunction]
#[pyo3(signature = (data, table, head, now, seq, /))]
fn express_query<'py>(
    py: Python<'py>, data: &[u8], table: &Bound<'py, PyDict>, head: &[u8], now: u64, seq: u64,
) -> Looked<'py> {
    let Some((text, key)) = express::query(data) else { return Ok(None) };
    let Some(entry) = table.get_item(PyBytes::new(py, &key))? else { return Ok(None) };
    let tuple = entry.cast::<PyTuple>()?;
    let (tail, tail_entries) = tail_of(tuple)?;
    let event = express::Event { head, head_entries: 2, tail: tail.as_bytes(), tail_entries };
    let event = event.operation(now, seq, Some(text), None);
    Ok(Some((entry.clone(), PyBytes::new(py, &event))))
}

/// express_extended(data, parsed, named, head, now, seq, /) -- (entry, event, described, result formats) of a chunk that
/// is one extended query of the unnamed portal.
///
/// Its entry is found in `parsed` by its Parse message, without one in `named` by the statement's name.
#[pyfunction]
#[pyo3(signature = (data, parsed, named, head, now, seq, /))]
fn express_extended<'py>(
    py: Python<'py>, data: &[u8], parsed: &Bound<'py, PyDict>, named: &Bound<'py, PyDict>, head: &[u8], now: u64, seq: u64,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyBytes>, bool, Bound<'py, PyBytes>)>> {
    let Some(found) = express::extended(data) else { return Ok(None) };
    let (table, key) = if found.parse.is_empty() { (named, found.statement) } else { (parsed, found.parse) };
    let Some(entry) = table.get_item(PyBytes::new(py, key))? else { return Ok(None) };
    let tuple = entry.cast::<PyTuple>()?;
    let (tail, tail_entries) = tail_of(tuple)?;
    let event = express::Event { head, head_entries: 2, tail: tail.as_bytes(), tail_entries };
    let event = event.operation(now, seq, None, Some(&found));
    let formats = PyBytes::new(py, &found.result_formats);
    Ok(Some((entry.clone(), PyBytes::new(py, &event), found.described, formats)))
}

type Car<'py> = (Bound<'py, PyAny>, Bound<'py, PyBytes>, u8, usize);

/// express_train(data, parsed, named, head, now, seq, /) -- [(entry, event, shape, end)] of a chunk that is some extended
/// queries of the unnamed portal in a row; `seq` is the first one's. For shapes see `express::answers`.
#[pyfunction]
#[pyo3(signature = (data, parsed, named, head, now, seq, /))]
fn express_train<'py>(
    py: Python<'py>, data: &[u8], parsed: &Bound<'py, PyDict>, named: &Bound<'py, PyDict>, head: &[u8], now: u64, seq: u64,
) -> PyResult<Option<Vec<Car<'py>>>> {
    let Some(cars) = express::train(data) else { return Ok(None) };
    let mut found = Vec::with_capacity(cars.len());
    for ((car, end), seq) in cars.iter().zip(seq..) {
        let (table, key) = if car.parse.is_empty() { (named, car.statement) } else { (parsed, car.parse) };
        let Some(entry) = table.get_item(PyBytes::new(py, key))? else { return Ok(None) };
        let tuple = entry.cast::<PyTuple>()?;
        let (tail, tail_entries) = tail_of(tuple)?;
        let event = express::Event { head, head_entries: 2, tail: tail.as_bytes(), tail_entries };
        let event = PyBytes::new(py, &event.operation(now, seq, None, Some(car)));
        let mut shape = 0;
        for (bit, set) in [
            (express::PARSED, !car.parse.is_empty()),
            (express::DESCRIBED, car.described),
            (express::SYNCED, car.sync),
        ] {
            shape |= if set { bit } else { 0 };
        }
        found.push((entry.clone(), event, shape, *end));
    }
    Ok(Some(found))
}

/// express_answers(data, shapes, /) -- [(rows, status, start and end of the RowDescription's body, start and end of the
/// rows, end)] of the answers to such queries that are there as a whole, in order. `rows` is -1 for a tag without a
/// count, -2 for one that ends a transaction; `status` 0 without a Sync.
#[pyfunction]
#[pyo3(signature = (data, shapes, /))]
fn express_answers(data: &[u8], shapes: &[u8]) -> Vec<(i64, u8, usize, usize, usize, usize, usize)> {
    let found = express::answers(data, shapes).into_iter();
    found
        .map(|(answer, end)| {
            let ((told, told_end), (rows, rows_end)) = (answer.description, answer.data_rows);
            (answer.rows, answer.status, told, told_end, rows, rows_end, end)
        })
        .collect()
}

/// express_answer(data, prefix, described, simple, /) -- (rows, status, start and end of the RowDescription's body, start
/// and end of the rows) of a chunk that is one whole answer of the plainest kind.
#[pyfunction]
#[pyo3(signature = (data, prefix, described, simple, /))]
fn express_answer(
    data: &[u8], prefix: &[u8], described: bool, simple: bool,
) -> Option<(i64, u8, usize, usize, usize, usize)> {
    let found = express::answer(data, prefix, described, simple)?;
    let ((told, told_end), (rows, rows_end)) = (found.description, found.data_rows);
    Some((found.rows, found.status, told, told_end, rows, rows_end))
}

/// express_finished(head, tail, now, seq, rows, started, /) -- an OperationFinished; head and tail have two entries and one.
///
/// Negative `rows` stand for none.
#[pyfunction]
#[pyo3(signature = (head, tail, now, seq, rows, started, /))]
fn express_finished<'py>(
    py: Python<'py>, head: &[u8], tail: &[u8], now: u64, seq: u64, rows: i64, started: u64,
) -> Bound<'py, PyBytes> {
    let event = express::Event { head, head_entries: 2, tail, tail_entries: 1 };
    PyBytes::new(py, &event.finished(now, seq, rows, now.saturating_sub(started) / 1000))
}

/// version() -- of this crate and of the grammar within.
#[pyfunction]
fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (libpg_query 18.1.0)")
}

#[pymodule]
fn wicketgate_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ParseError", module.py().get_type::<ParseError>())?;
    module.add_function(wrap_pyfunction!(parse, module)?)?;
    module.add_function(wrap_pyfunction!(strip_literals, module)?)?;
    module.add_function(wrap_pyfunction!(rows_end, module)?)?;
    module.add_function(wrap_pyfunction!(whole_rows_end, module)?)?;
    module.add_function(wrap_pyfunction!(mask_rows, module)?)?;
    module.add_function(wrap_pyfunction!(express_query, module)?)?;
    module.add_function(wrap_pyfunction!(express_extended, module)?)?;
    module.add_function(wrap_pyfunction!(express_train, module)?)?;
    module.add_function(wrap_pyfunction!(express_answer, module)?)?;
    module.add_function(wrap_pyfunction!(express_answers, module)?)?;
    module.add_function(wrap_pyfunction!(express_finished, module)?)?;
    module.add_class::<detect_py::Scanner>()?;
    module.add_function(wrap_pyfunction!(version, module)?)?;
    Ok(())
}
