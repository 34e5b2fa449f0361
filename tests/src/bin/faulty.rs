//! The program `switchyard` with faults switched on: `SWITCHYARD_FAULTS` names, separated by commas,
//! rules to switch off (`R2`) and points at which the process ends when they are passed for the
//! n-th time (`after-send:50`); at `before-commit:50` it stops as by SIGSTOP. `lose-append:50` makes
//! the 50th append fail unmade.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use actors::{
    ports::{Sequence, TopicPartition},
    runtime::guards::{Guards, Point},
};

/// How often each point may still be passed; negative means always.
static LEFT: [AtomicI64; 6] = [const { AtomicI64::new(-1) }; 6];
static APPENDS_LEFT: AtomicI64 = AtomicI64::new(-1);

const POINTS: [(&str, Point); 6] = [
    ("after-decide", Point::AfterDecide),
    ("after-send", Point::AfterSend),
    ("after-acknowledgement", Point::AfterAcknowledgement),
    ("after-fence", Point::AfterFence),
    ("mid-snapshot", Point::MidSnapshot),
    ("before-commit", Point::BeforeCommit),
];

/// Whether this is the time that was asked for.
fn is_due(left: &AtomicI64) -> bool {
    left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) == 1
}

fn passes(point: Point) {
    let place = POINTS.iter().position(|(_, known)| *known == point);
    if !place.is_some_and(|place| is_due(&LEFT[place])) {
        return;
    }
    if point == Point::BeforeCommit {
        // A zombie in the making; whoever tests wakes it.
        let itself = std::process::id().to_string();
        std::process::Command::new("kill").args(["-STOP", &itself]).status().ok();
    } else {
        std::process::abort();
    }
}

/// Loses an append, and as a log does all of the same sequence behind it.
fn loses_append(to: &TopicPartition, sequence: Sequence) -> bool {
    static BROKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
    match sequence {
        Sequence::Begins => {
            broken.remove(&to.to_string());
            false
        }
        Sequence::Continues if is_due(&APPENDS_LEFT) => broken.insert(to.to_string()),
        Sequence::Continues => broken.contains(&to.to_string()),
        Sequence::Alone => false,
    }
}

fn switch(guards: &mut Guards, fault: &str) -> Option<()> {
    let rule = match fault {
        "R2" => &mut guards.fence,
        "R3" => &mut guards.reader_rule,
        "R4" => &mut guards.start_position,
        "R6" => &mut guards.fail_stop,
        "R7" => &mut guards.compare_and_set,
        "R10" => &mut guards.right_partition,
        point => {
            let (name, count) = point.split_once(':')?;
            let left = match POINTS.iter().position(|(known, _)| *known == name) {
                Some(place) => &LEFT[place],
                None if name == "lose-append" => &APPENDS_LEFT,
                None => return None,
            };
            left.store(count.parse().ok()?, Ordering::Relaxed);
            return Some(());
        }
    };
    *rule = false;
    Some(())
}

fn main() -> ExitCode {
    let mut guards = Guards { passes, loses_append, ..Guards::default() };
    let faults = std::env::var("SWITCHYARD_FAULTS").unwrap_or_default();
    for fault in faults.split(',').filter(|fault| !fault.is_empty()) {
        if switch(&mut guards, fault).is_none() {
            eprintln!("SWITCHYARD_FAULTS: {fault:?} is no fault");
            return ExitCode::from(2);
        }
    }
    infra::cli::main(guards)
}
