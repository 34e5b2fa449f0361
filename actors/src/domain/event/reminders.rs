//! Reminders: durable timers before the start.
//!
//! A reminder is due at the start minus its span, on the civil calendar of the event's time zone:
//! `P1D` before 10:00 is 10:00 of the day before, whatever the clocks did in between.
//!
//! It fires once, in the first `fireReminders` at or after that time while the event is published
//! or ongoing, late rather than never. It is armed when it is set, and armed again when start or
//! zone move and when the event is published; a time that had passed by then is not made up for.
//! `next_wake` offers exactly what `fireReminders` would fire, so each wake-up makes progress.
//!
//! Only `decide` and `next_wake` ask the time zone database; `apply` stores when a reminder was
//! armed and whether it fired, so another release's database replays to the same state.

use jiff::{Span, SpanRelativeTo, Unit, tz::TimeZone};
use schemas::{
    Principal, Rejection, Timestamp,
    event::{EventChange, EventCommand, EventStatus},
};
use serde::{Deserialize, Serialize};

use super::{
    Event,
    decide::{Decision, nothing, one},
};
use crate::domain::{
    Context,
    access::{check_count, forbidden},
};

/// The most reminders of one event.
const MOST_REMINDERS: usize = 10;
/// The earliest reminder, in days before the start.
const EARLIEST_DAYS: f64 = 366.0;
/// The longest text of a duration, in bytes.
const LONGEST_DURATION: usize = 32;

/// One reminder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    /// How long before the start: an ISO 8601 duration as it was given.
    pub before: String,
    /// Whether it went out.
    pub fired: bool,
    /// It fires only if it is due after this.
    pub armed_at: Timestamp,
}

impl Event {
    /// When the next reminder is due, if one is to be sent.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.sends_reminders() {
            return None;
        }
        let zone = TimeZone::get(&self.details.time_zone).ok()?;
        self.reminders.iter().filter_map(|reminder| self.due(reminder, &zone)).min()
    }

    /// What the runtime sends, as the system, at [`Self::next_wake`].
    pub fn wake_command() -> Option<EventCommand> {
        Some(EventCommand::FireReminders {})
    }

    pub(super) fn set_reminders(&self, before: &[String], context: &Context<'_>) -> Decision {
        self.check_organiser(context)?;
        check_count("before", before.len(), MOST_REMINDERS)?;
        let mut spans = Vec::with_capacity(before.len());
        for (n, text) in before.iter().enumerate() {
            let span = parse(text).map_err(|why| Rejection::field(format!("before[{n}]"), why))?;
            if spans.contains(&span.fieldwise()) {
                return Err(Rejection::field(format!("before[{n}]"), "is there twice"));
            }
            spans.push(span.fieldwise());
        }
        if self.reminders.iter().map(|reminder| &reminder.before).eq(before) {
            return nothing();
        }
        one(EventChange::RemindersSet { before: before.to_vec() })
    }

    pub(super) fn fire_reminders(&self, context: &Context<'_>) -> Decision {
        if *context.actor.principal != Principal::System {
            return Err(forbidden("the system"));
        }
        if !self.sends_reminders() {
            return nothing();
        }
        let Ok(zone) = TimeZone::get(&self.details.time_zone) else {
            return nothing();
        };
        let is_due = |due: Timestamp| due <= context.at;
        let due = self.reminders.iter().filter(|one| self.due(one, &zone).is_some_and(is_due));
        Ok(due
            .map(|one| EventChange::ReminderFired { before: one.before.clone() }.into())
            .collect())
    }

    /// Only events that people look forward to.
    fn sends_reminders(&self) -> bool {
        match self.status {
            EventStatus::Published | EventStatus::Ongoing => true,
            EventStatus::Draft
            | EventStatus::Postponed
            | EventStatus::Completed
            | EventStatus::Cancelled => false,
        }
    }

    /// When the reminder is due; none if it fired or its time had passed when it was armed.
    fn due(&self, reminder: &Reminder, zone: &TimeZone) -> Option<Timestamp> {
        if reminder.fired {
            return None;
        }
        let start = jiff::Timestamp::from_millisecond(self.details.start.as_millis()).ok()?;
        let span = parse(&reminder.before).ok()?;
        let due = start.to_zoned(zone.clone()).checked_sub(span).ok()?;
        let due = Timestamp::from_millis(due.timestamp().as_millisecond());
        (due > reminder.armed_at).then_some(due)
    }
}

/// Reads a duration of days and smaller units (weeks count as seven days); months and years
/// have no length of their own.
fn parse(text: &str) -> Result<Span, &'static str> {
    let wrong = "must be an ISO 8601 duration of weeks, days, hours and minutes such as P1D";
    // jiff also reads "1 day" and signs; a reminder is ISO 8601 and before the start.
    if !text.starts_with('P') || text.len() > LONGEST_DURATION {
        return Err(wrong);
    }
    let span: Span = text.parse().map_err(|_| wrong)?;
    let days = span.total((Unit::Day, SpanRelativeTo::days_are_24_hours())).map_err(|_| wrong)?;
    if days <= 0.0 || days > EARLIEST_DAYS {
        return Err("must be longer than nothing and at most 366 days");
    }
    let days_in_weeks = i64::from(span.get_weeks()) * 7;
    span.try_days(i64::from(span.get_days()) + days_in_weeks)
        .and_then(|span| span.try_weeks(0))
        .map_err(|_| wrong)
}
