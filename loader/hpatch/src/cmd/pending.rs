//! `hpatch apply --pending`: what the store has for modules that appeared while the program runs, as far as it wasn't applied when they were
//! loaded (see docs/loader.md).

use std::time::Instant;

use hpatch_core::abi::Op;
use serde_json::{Map, Value, json};

use super::Report;
use super::apply::{prepared, switch_in};
use super::args::{Applying, Switching};
use super::session::Session;
use crate::error::{Error, Exit, Result, code};
use crate::interrupt;
use crate::shown;
use crate::trace::rpc::{self, RpcOptions};

pub fn run(pid: i32, how: &Applying, switching: &Switching) -> Result<Report> {
    let session = Session::open(pid, switching)?;
    let options = RpcOptions { allow_seccomp: switching.allow_seccomp };
    let mut text = String::new();
    let mut applied = Vec::new();
    let mut failed: Vec<Error> = Vec::new();
    let mut index = 0;
    loop {
        let begun = Instant::now();
        let asked = rpc::call(&session.target, &session.control, Op::PreparePending, &[index], options);
        let more = match asked {
            Ok(answer) => {
                let (record, count) = (answer.value[0], answer.value[1]);
                if record != 0 {
                    let patch = prepared(&session.target, record)?;
                    match switch_in(&session, patch, begun.elapsed(), how, switching) {
                        Ok(r) => {
                            text.push_str(&r.text);
                            applied.push(Value::Object(r.json));
                        }
                        Err(e) => failed.push(e),
                    }
                }
                index + 1 < count
            }
            // What it says of the store is still to come.
            Err(e) if rpc::late(&e) => {
                failed.push(e);
                false
            }
            // This bundle is refused; another may be fine.
            Err(e) => {
                let count = session.control.value(&session.target, 1)?;
                failed.push(e);
                index + 1 < count
            }
        };
        if !more {
            break;
        }
        if interrupt::came() {
            let why = "interrupted by a signal; the bundles that are left weren't tried";
            failed.push(Error::new(code::INTERRUPTED, Exit::Busy, why));
            break;
        }
        index += 1;
    }
    if !failed.is_empty() {
        print_all(&text, &failed[1..]);
        let first = failed.swap_remove(0);
        let mut json = Map::new();
        json.insert("applied".into(), Value::Array(applied));
        return Err(Error { json, ..first });
    }
    let nothing = applied.is_empty();
    if nothing {
        text = format!("process {pid}: nothing is pending\n");
    }
    let mut r = Report::new(text, json!({ "pid": pid, "applied": applied }));
    if nothing {
        r.exit = Some(Exit::NothingChanged);
    }
    Ok(r)
}

/// The first failure is the command's; the others are said before it.
fn print_all(text: &str, others: &[Error]) {
    shown::say(&shown::lines(text));
    for e in others {
        shown::say(&e.render());
    }
}
