//! Wicketgate's native core: bytes in, bytes out; no I/O, no policy, no state.
//!
//! `parse` is PostgreSQL's own grammar (libpg_query), `strip_literals` the scanner that makes cache keys, `rows_end` walks
//! over rows that nobody looks at. Each has a twin in Python (`wicketgate_gateway.wire.postgres`), which is the reference
//! in differential tests.

mod literals;
mod parser;
mod rows;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

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
    module.add_function(wrap_pyfunction!(version, module)?)?;
    Ok(())
}
