//! The commands, one file each.

pub mod apply;
pub mod args;
pub mod attach;
pub mod fleet;
pub mod inside;
pub mod kin;
pub mod pending;
pub mod perf_map;
pub mod recover;
pub mod revert;
pub mod run;
pub mod session;
pub mod show;
pub mod supervise;
pub mod ways;

use serde_json::{Map, Value, json};

use crate::error::{Error, Exit};
use crate::shown;

/// What a command has to say when it succeeded.
#[derive(Debug, Default)]
pub struct Report {
    pub text: String,
    pub json: Map<String, Value>,
    pub exit: Option<Exit>,
}

impl Report {
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        let json = match json {
            Value::Object(m) => m,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self { text: text.into(), json, exit: None }
    }
}

/// Prints the outcome of `verb` and gives the exit status.
pub fn finish(verb: &str, as_json: bool, outcome: Result<Report, Error>) -> Exit {
    let schema = format!("hpatch.{verb}/1");
    match outcome {
        Ok(r) => {
            if as_json {
                let mut m = Map::from_iter([("schema".to_owned(), json!(schema)), ("ok".to_owned(), json!(true))]);
                m.extend(r.json);
                shown::out(&format!("{}\n", Value::Object(m)));
            } else {
                shown::out(&shown::lines(&r.text));
            }
            r.exit.unwrap_or(Exit::Done)
        }
        Err(e) => {
            if as_json {
                let mut m = Map::from_iter([
                    ("schema".to_owned(), json!(schema)),
                    ("ok".to_owned(), json!(false)),
                    ("code".to_owned(), json!(e.code.to_string())),
                    ("exit".to_owned(), json!(e.exit as u8)),
                    ("error".to_owned(), json!(e.title)),
                    ("notes".to_owned(), json!(e.notes)),
                    ("help".to_owned(), json!(e.help)),
                ]);
                m.extend(e.json);
                shown::out(&format!("{}\n", Value::Object(m)));
            } else {
                shown::say(&e.render());
            }
            e.exit
        }
    }
}
