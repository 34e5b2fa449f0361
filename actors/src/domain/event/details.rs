//! The fields of `createEvent` and `updateEvent`: their bounds, their defaults, what differs.

use jiff::tz::TimeZone;
use schemas::{
    EntityId, Kind, Patch, Rejection,
    event::{EventChange, EventCommand, EventFields, EventStatus, Visibility},
    role::TenantRole,
};

use super::{Details, decide::check_tenant_role};
use crate::domain::access::{check_optional_text, check_text};

/// The longest title, in characters; of places too.
pub(super) const LONGEST_TITLE: usize = 200;
/// The longest description, in characters.
const LONGEST_DESCRIPTION: usize = 20_000;
/// The most places.
const MOST_PLACES: i64 = 1_000_000;
/// The most that one participant may bring.
const MOST_PLUS_ONES: i64 = 20;

/// The change that `createEvent` comes to; none for any other command.
pub(super) fn from_create(command: &EventCommand) -> Result<Option<EventChange>, Rejection> {
    let EventCommand::CreateEvent {
        title,
        start,
        end,
        time_zone,
        all_day,
        description,
        place,
        capacity,
        waitlist,
        max_plus_ones,
        registration_opens,
        registration_closes,
        visibility,
        board_id,
        room_id,
        tenant_role,
    } = command
    else {
        return Ok(None);
    };
    let details = Details {
        title: title.clone(),
        start: *start,
        end: *end,
        time_zone: canonical_zone(time_zone)?,
        all_day: all_day.unwrap_or(false),
        description: description.clone(),
        place: place.clone(),
        capacity: *capacity,
        waitlist: waitlist.unwrap_or(true),
        max_plus_ones: max_plus_ones.unwrap_or(0),
        registration_opens: *registration_opens,
        registration_closes: *registration_closes,
        visibility: visibility.unwrap_or_default(),
        board_id: board_id.clone(),
        room_id: room_id.clone(),
    };
    check(&details)?;
    let tenant_role = check_tenant_role(tenant_role.unwrap_or(TenantRole::None))?;
    Ok(Some(EventChange::EventCreated {
        title: details.title,
        start: details.start,
        end: details.end,
        time_zone: details.time_zone,
        all_day: details.all_day,
        description: details.description,
        place: details.place,
        capacity: details.capacity,
        waitlist: details.waitlist,
        max_plus_ones: details.max_plus_ones,
        registration_opens: details.registration_opens,
        registration_closes: details.registration_closes,
        visibility: details.visibility,
        board_id: details.board_id,
        room_id: details.room_id,
        tenant_role,
    }))
}

/// What the details and the tenant's role are after `updateEvent`; none for any other command.
/// Null gives a field that can't be without a value its default.
pub(super) fn from_update(
    now: &Details,
    command: &EventCommand,
) -> Result<Option<(Details, Patch<TenantRole>)>, Rejection> {
    let EventCommand::UpdateEvent {
        title,
        start,
        end,
        time_zone,
        all_day,
        description,
        place,
        capacity,
        waitlist,
        max_plus_ones,
        registration_opens,
        registration_closes,
        visibility,
        board_id,
        room_id,
        tenant_role,
    } = command
    else {
        return Ok(None);
    };
    let mut next = now.clone();
    set_required("title", title, &mut next.title)?;
    set_required("start", start, &mut next.start)?;
    set_required("end", end, &mut next.end)?;
    set_required("timeZone", time_zone, &mut next.time_zone)?;
    if next.time_zone != now.time_zone {
        next.time_zone = canonical_zone(&next.time_zone)?;
    }
    set_or(false, all_day, &mut next.all_day);
    set_or(true, waitlist, &mut next.waitlist);
    set_or(0, max_plus_ones, &mut next.max_plus_ones);
    set_or(Visibility::default(), visibility, &mut next.visibility);
    description.apply_to(&mut next.description);
    place.apply_to(&mut next.place);
    capacity.apply_to(&mut next.capacity);
    registration_opens.apply_to(&mut next.registration_opens);
    registration_closes.apply_to(&mut next.registration_closes);
    board_id.apply_to(&mut next.board_id);
    room_id.apply_to(&mut next.room_id);
    check(&next)?;
    let tenant_role = match tenant_role {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Set(TenantRole::None),
        Patch::Set(role) => Patch::Set(check_tenant_role(*role)?),
    };
    Ok(Some((next, tenant_role)))
}

/// The fields that differ, with their new values.
pub(super) fn difference(now: &Details, next: &Details) -> EventFields {
    EventFields {
        title: changed(&now.title, &next.title),
        start: changed(&now.start, &next.start),
        end: changed(&now.end, &next.end),
        time_zone: changed(&now.time_zone, &next.time_zone),
        all_day: changed(&now.all_day, &next.all_day),
        description: changed_option(&now.description, &next.description),
        place: changed_option(&now.place, &next.place),
        capacity: changed_option(&now.capacity, &next.capacity),
        waitlist: changed(&now.waitlist, &next.waitlist),
        max_plus_ones: changed(&now.max_plus_ones, &next.max_plus_ones),
        registration_opens: changed_option(&now.registration_opens, &next.registration_opens),
        registration_closes: changed_option(&now.registration_closes, &next.registration_closes),
        visibility: changed(&now.visibility, &next.visibility),
        board_id: changed_option(&now.board_id, &next.board_id),
        room_id: changed_option(&now.room_id, &next.room_id),
        tenant_role: Patch::Keep,
    }
}

/// Writes the fields of `eventUpdated` into the details.
pub(super) fn write(fields: &EventFields, details: &mut Details) {
    write_required(&fields.title, &mut details.title);
    write_required(&fields.start, &mut details.start);
    write_required(&fields.end, &mut details.end);
    write_required(&fields.time_zone, &mut details.time_zone);
    write_required(&fields.all_day, &mut details.all_day);
    write_required(&fields.waitlist, &mut details.waitlist);
    write_required(&fields.max_plus_ones, &mut details.max_plus_ones);
    write_required(&fields.visibility, &mut details.visibility);
    fields.description.apply_to(&mut details.description);
    fields.place.apply_to(&mut details.place);
    fields.capacity.apply_to(&mut details.capacity);
    fields.registration_opens.apply_to(&mut details.registration_opens);
    fields.registration_closes.apply_to(&mut details.registration_closes);
    fields.board_id.apply_to(&mut details.board_id);
    fields.room_id.apply_to(&mut details.room_id);
}

/// A status as clients read it.
pub(super) fn word(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Draft => "draft",
        EventStatus::Published => "published",
        EventStatus::Ongoing => "ongoing",
        EventStatus::Completed => "completed",
        EventStatus::Cancelled => "cancelled",
        EventStatus::Postponed => "postponed",
    }
}

/// Sets a field that can't be without a value; null is `invalid`.
pub(super) fn set_required<T: Clone>(
    name: &str,
    patch: &Patch<T>,
    field: &mut T,
) -> Result<(), Rejection> {
    match patch {
        Patch::Keep => {}
        Patch::Clear => return Err(Rejection::field(name, "must not be null")),
        Patch::Set(value) => *field = value.clone(),
    }
    Ok(())
}

/// Sets a field from a change, where null does not occur.
pub(super) fn write_required<T: Clone>(patch: &Patch<T>, field: &mut T) {
    if let Some(value) = patch.as_set() {
        *field = value.clone();
    }
}

/// The value if it differs.
pub(super) fn changed<T: Clone + PartialEq>(now: &T, next: &T) -> Patch<T> {
    if now == next { Patch::Keep } else { Patch::Set(next.clone()) }
}

/// The value, or its absence, if it differs.
pub(super) fn changed_option<T: Clone + PartialEq>(now: &Option<T>, next: &Option<T>) -> Patch<T> {
    if now == next { Patch::Keep } else { Patch::from_option(next.clone()) }
}

fn set_or<T: Clone>(default: T, patch: &Patch<T>, field: &mut T) {
    match patch {
        Patch::Keep => {}
        Patch::Clear => *field = default,
        Patch::Set(value) => *field = value.clone(),
    }
}

fn check(details: &Details) -> Result<(), Rejection> {
    check_text("title", &details.title, LONGEST_TITLE)?;
    let description = details.description.as_deref().unwrap_or_default();
    check_optional_text("description", description, LONGEST_DESCRIPTION)?;
    check_optional_text("place", details.place.as_deref().unwrap_or_default(), LONGEST_TITLE)?;
    if details.end <= details.start {
        return Err(Rejection::field("end", "must be after start"));
    }
    if details.capacity.is_some_and(|capacity| !(1..=MOST_PLACES).contains(&capacity)) {
        return Err(Rejection::field("capacity", format!("must be from 1 to {MOST_PLACES}")));
    }
    if !(0..=MOST_PLUS_ONES).contains(&details.max_plus_ones) {
        return Err(Rejection::field("maxPlusOnes", format!("must be from 0 to {MOST_PLUS_ONES}")));
    }
    if let (Some(opens), Some(closes)) = (details.registration_opens, details.registration_closes)
        && closes <= opens
    {
        return Err(Rejection::field("registrationCloses", "must be after registrationOpens"));
    }
    check_kind("boardId", details.board_id.as_ref(), Kind::Board)?;
    check_kind("roomId", details.room_id.as_ref(), Kind::Room)
}

fn check_kind(field: &str, entity: Option<&EntityId>, kind: Kind) -> Result<(), Rejection> {
    if entity.is_some_and(|entity| entity.kind() != kind) {
        return Err(Rejection::field(field, format!("must be a {kind}")));
    }
    Ok(())
}

/// The zone's name as the database spells it.
fn canonical_zone(name: &str) -> Result<String, Rejection> {
    let unknown =
        || Rejection::field("timeZone", "must be an IANA time zone such as Europe/Vienna");
    let zone = TimeZone::get(name).map_err(|_| unknown())?;
    match zone.iana_name() {
        Some(known) if !zone.is_unknown() => Ok(known.to_owned()),
        Some(_) | None => Err(unknown()),
    }
}
