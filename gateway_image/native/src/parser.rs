//! PostgreSQL's parser, called without turning its tree into Rust's: the protobuf bytes are the product.
//!
//! How this works: the crate `pg_query` builds and links libpg_query; its own `parse` decodes the tree with prost, which
//! costs more than the parse and stops at 100 levels. So the C function is declared here. libpg_query sizes its stack
//! check by the stack of the calling thread, and reports what is nested too deeply as an error.
//!
//! The build defines `DEBUG` for the C code (`build_backend.py`). Without it each parse would put a pipe in the place of
//! the process's standard error: a dozen system calls, and log lines of other threads lost.

use std::cell::Cell;
use std::ffi::{c_char, c_int, CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

// Links the static library.
use pg_query as _;

/// Standard grammar; no warning about backslashes, which would go to standard error with the text.
const OPTIONS: c_int = 64;
/// libpg_query takes one pthread key for every thread that ever parses, of 1024 in a process.
const MAX_THREADS: usize = 128;

#[repr(C)]
struct PgQueryError {
    message: *mut c_char,
    funcname: *mut c_char,
    filename: *mut c_char,
    lineno: c_int,
    cursorpos: c_int,
    context: *mut c_char,
}

#[repr(C)]
struct PgQueryProtobuf {
    len: usize,
    data: *mut c_char,
}

#[repr(C)]
struct PgQueryProtobufParseResult {
    parse_tree: PgQueryProtobuf,
    stderr_buffer: *mut c_char,
    error: *mut PgQueryError,
}

extern "C" {
    fn pg_query_parse_protobuf_opts(input: *const c_char, options: c_int) -> PgQueryProtobufParseResult;
    fn pg_query_free_protobuf_parse_result(result: PgQueryProtobufParseResult);
}

/// Why there is no tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    Nul,
    Syntax { message: String, cursor: i32 },
}

static LOCK: Mutex<()> = Mutex::new(());
static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local!(static KNOWN: Cell<bool> = const { Cell::new(false) });

/// The parse tree of `sql` as protobuf bytes.
pub fn parse(sql: &str) -> Result<Vec<u8>, Failure> {
    let input = CString::new(sql).map_err(|_| Failure::Nul)?;
    // Held by one thread at a time: libpg_query keeps its thread key in an unguarded global.
    let _held = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !KNOWN.get() {
        if THREADS.load(Ordering::Relaxed) >= MAX_THREADS {
            let message = format!("over {MAX_THREADS} threads have parsed; parse from fewer");
            return Err(Failure::Syntax { message, cursor: 0 });
        }
        THREADS.fetch_add(1, Ordering::Relaxed);
        KNOWN.set(true);
    }
    // SAFETY: `input` is NUL-terminated and outlives the call; the result owns its buffers until it is freed below, and
    // is read only before that. The structs repeat those of pg_query.h in version 18.1.0, which Cargo.toml pins.
    unsafe {
        let result = pg_query_parse_protobuf_opts(input.as_ptr(), OPTIONS);
        let outcome = if let Some(error) = result.error.as_ref() {
            let message = CStr::from_ptr(error.message).to_string_lossy().into_owned();
            Err(Failure::Syntax { message, cursor: error.cursorpos })
        } else if result.parse_tree.data.is_null() {
            Ok(Vec::new())
        } else {
            let tree = &result.parse_tree;
            Ok(std::slice::from_raw_parts(tree.data.cast::<u8>(), tree.len).to_vec())
        };
        pg_query_free_protobuf_parse_result(result);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_reports_the_position() {
        assert!(!parse("SELECT 1").unwrap().is_empty());
        match parse("SELECT FROM WHERE") {
            Err(Failure::Syntax { cursor, .. }) => assert_eq!(cursor, 13),
            other => panic!("{other:?}"),
        }
        assert_eq!(parse("SELECT '\0'"), Err(Failure::Nul));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let sum = format!("SELECT {}1", "1+".repeat(40_000));
        assert!(matches!(parse(&sum), Err(Failure::Syntax { .. })));
        let parens = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        assert!(parse(&parens).is_err());
        assert!(parse("SELECT 1").is_ok());
    }
}
