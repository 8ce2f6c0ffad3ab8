//! Which path and method is answered by whom.
//!
//! A route that is added here is in the OpenAPI document by that.

use http::Method;

use crate::openapi::{Access, Doc, Parameter, Shown};
use crate::table::{Routes, delete, get, patch, post, put};
use crate::{actions, activations, admin, alarms, asynchronous, info, packages, pool, rules, triggers};

/// The page of a list.
const PAGE: [Parameter; 3] = [
    Parameter::whole("limit", 0, 200, "at most so many, 30 when absent; 0 means 200"),
    Parameter::whole("skip", 0, 2_147_483_647, "leave so many out"),
    Parameter::flag("count", "answer their number instead"),
];
const OVERWRITE: Parameter = Parameter::flag("overwrite", "update what exists");
const SINCE: Parameter =
    Parameter::whole("since", 0, 9_007_199_254_740_991, "not before, epoch milliseconds");
const UPTO: Parameter = Parameter::whole("upto", 0, 9_007_199_254_740_991, "not after, epoch milliseconds");

/// The public API.
pub(crate) fn public() -> Routes {
    Routes::default()
        .at("/", [get(info::controller, anyone("Limits and runtimes").shows("Info"))])
        .at("/ping", [get(info::ping, anyone("Whether the server is there").answers(200, TEXT))])
        .at_both("/api/v1", || [get(info::api, anyone("Version and addresses of the API").shows("Info"))])
        .at("/api/v1/api-docs", [get(info::api_docs, anyone("This document").shows("Object"))])
        .at_both("/api/v1/docs", || {
            let doc = anyone("Leads to a page that shows this document").answers(308, Shown::Nothing);
            [get(info::docs, doc)]
        })
        .at(
            "/api/v1/docs/index.html",
            [get(info::docs_page, anyone("Shows this document").answers(200, HTML))],
        )
        .at_both("/api/v1/namespaces", || {
            [get(info::namespaces, Doc::new("The namespace of the key").lists("Name"))]
        })
        .at_both(&under("limits"), || {
            [get(info::limits, Doc::new("The limits of a namespace").shows("NamespaceLimits"))]
        })
        .with(actions_and_activations)
        .with(collections)
        .with(alarms_of_triggers)
        .with(|routes| calls(routes, &under("async"), Access::Namespace))
        .elsewhere("/api/v1/web/{ns}/{package}/{action}", web())
}

/// A web action, by any method; what it answers is its own.
fn web() -> [(Method, Doc); 7] {
    let methods = [
        Method::GET,
        Method::PUT,
        Method::DELETE,
        Method::POST,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    methods.map(|method| (method, anyone("Visit a web action; `default` is the package of those in none")))
}

const TEXT: Shown = Shown::Text("text/plain; charset=utf-8");
const HTML: Shown = Shown::Text("text/html; charset=utf-8");

fn actions_and_activations(routes: Routes) -> Routes {
    let activation = || [get(activations::get, Doc::new("Read an activation").shows("Activation"))];
    routes
        .at_both(&under("actions"), || [get(actions::list, list("List actions", "ActionSummary"))])
        .at(&under("actions/{name}"), action())
        .at(
            &under("actions/{name}/"),
            [get(actions::list_package, list("List the actions of a package", "ActionSummary"))],
        )
        .at(&under("actions/{package}/{name}"), action())
        .at_both(&under("activations"), || {
            let doc = list("List activations", "ActivationSummary").takes(&[
                Parameter::text("name", "of this action, `action` or `package/action`"),
                SINCE,
                UPTO,
                Parameter::flag("docs", "answer whole records"),
            ]);
            [get(activations::list, doc)]
        })
        .at_both(&under("activations/{id}"), activation)
        .at(
            &under("activations/{id}/result"),
            [get(activations::result, Doc::new("Read a result").shows("Response"))],
        )
        .at(&under("activations/{id}/logs"), [get(activations::logs, Doc::new("Read logs").shows("Logs"))])
}

/// An action, in a package or not.
fn action() -> [crate::table::Operation; 4] {
    let code = Parameter::flag("code", "with the code, which is so when absent");
    let invoke = Doc::new("Invoke an action")
        .takes(&[
            Parameter::flag("blocking", "wait for its end"),
            Parameter::flag("result", "answer the result alone"),
            Parameter::whole("timeout", 1, 60_000, "wait so long, milliseconds"),
            Parameter::header("Prefer", "`respond-async`: do not wait"),
            Parameter::header("Idempotency-Key", "a repeated call is the first one"),
        ])
        .body("Object")
        .answers(200, Shown::Either("Activation", "Json"))
        .answers(202, Shown::Json("ActivationId"))
        .answers(502, Shown::Either("Activation", "Json"));
    [
        get(actions::get, Doc::new("Read an action").takes(&[code]).shows("Action")),
        put(
            actions::put,
            Doc::new("Create or update an action").takes(&[OVERWRITE]).body("ActionPut").shows("Action"),
        ),
        delete(actions::delete, Doc::new("Delete an action").shows("Action")),
        post(actions::post, invoke),
    ]
}

fn collections(routes: Routes) -> Routes {
    let force = Parameter::flag("force", "delete what is in it as well");
    let put_doc = |summary, body| Doc::new(summary).takes(&[OVERWRITE]).body(body);
    routes
        .at_both(&under("packages"), || [get(packages::list, list("List packages", "PackageSummary"))])
        .at(
            &under("packages/{name}"),
            [
                get(packages::get, Doc::new("Read a package, with what is in it").shows("Package")),
                put(
                    packages::put,
                    put_doc("Create or update a package or a binding", "PackagePut").shows("PackageAlone"),
                ),
                delete(packages::delete, Doc::new("Delete a package").takes(&[force]).shows("PackageAlone")),
            ],
        )
        .at_both(&under("triggers"), || [get(triggers::list, list("List triggers", "TriggerSummary"))])
        .at(
            &under("triggers/{name}"),
            [
                get(triggers::get, Doc::new("Read a trigger, with its rules").shows("Trigger")),
                put(triggers::put, put_doc("Create or update a trigger", "TriggerPut").shows("Trigger")),
                delete(triggers::delete, Doc::new("Delete a trigger").shows("Trigger")),
                post(
                    triggers::post,
                    Doc::new("Fire a trigger")
                        .body("Object")
                        .answers(202, Shown::Json("ActivationId"))
                        .answers(204, Shown::Nothing),
                ),
            ],
        )
        .at_both(&under("rules"), || [get(rules::list, list("List rules", "Rule"))])
        .at(
            &under("rules/{name}"),
            [
                get(rules::get, Doc::new("Read a rule").shows("Rule")),
                put(rules::put, put_doc("Create or update a rule", "RulePut").shows("Rule")),
                delete(rules::delete, Doc::new("Delete a rule").shows("Rule")),
                post(
                    rules::set_status,
                    Doc::new("Switch a rule on or off").body("RuleStatus").answers(200, TEXT),
                ),
            ],
        )
}

/// Alarms of triggers, which are an API of our own.
fn alarms_of_triggers(routes: Routes) -> Routes {
    routes.at_both(&under("alarms"), || [get(alarms::list, list("List alarms of triggers", "Alarm"))]).at(
        &under("alarms/{name}"),
        [
            get(alarms::get, Doc::new("Read the alarm of a trigger").shows("Alarm")),
            put(alarms::create, Doc::new("Let a trigger fire by the clock").body("AlarmPut").shows("Alarm")),
            delete(alarms::delete, Doc::new("Delete an alarm; its trigger stays").shows("Alarm")),
            post(
                alarms::update,
                Doc::new("Change, pause or continue an alarm").body("AlarmPost").shows("Alarm"),
            ),
        ],
    )
}

/// The admin API.
pub(crate) fn admin() -> Routes {
    let operator = |summary| Doc::new(summary).access(Access::Operator);
    Routes::default()
        .with(|routes| calls(routes, "/admin/async", Access::Operator))
        .at(
            "/admin/v1/users",
            [post(admin::create, operator("Create a user").body("NewUser").shows("NewCredential"))],
        )
        .at(
            "/admin/v1/users/{subject}",
            [
                get(admin::get, operator("Read a user, with its keys").shows("User")),
                delete(
                    admin::delete,
                    operator("Delete a user, or one of its namespaces")
                        .takes(&[Parameter::text("namespace", "this namespace only")])
                        .shows("Message"),
                ),
            ],
        )
        .at(
            "/admin/v1/users/{subject}/block",
            [post(admin::block, operator("Refuse a user's keys").shows("Message"))],
        )
        .at(
            "/admin/v1/users/{subject}/unblock",
            [post(admin::unblock, operator("Take a user's keys again").shows("Message"))],
        )
        .with(limits_and_imports)
        .with(pool_routes)
}

fn limits_and_imports(routes: Routes) -> Routes {
    let operator = |summary| Doc::new(summary).access(Access::Operator);
    let overwrite = Parameter::flag("overwrite", "replace what is here already and differs");
    routes
        .at(
            "/admin/v1/whois",
            [post(admin::whois, operator("Whose a key is").body("Presented").shows("Whois"))],
        )
        .at(
            "/admin/v1/namespaces/{ns}/users",
            [get(admin::holders, operator("Who has keys of a namespace").lists("Holder"))],
        )
        .at(
            "/admin/v1/namespaces/{ns}/limits",
            [
                get(admin::get_limits, operator("What is set for a namespace").shows("LimitsDocument")),
                patch(
                    admin::set_limits,
                    operator("Set limits of a namespace; the rest stays")
                        .body("LimitsDocument")
                        .shows("Message"),
                ),
                delete(admin::delete_limits, operator("Take limits back").shows("Message")),
            ],
        )
        .at(
            "/admin/v1/import",
            [post(
                admin::import,
                operator("Take in a document of an OpenWhisk database")
                    .takes(&[overwrite])
                    .body("Object")
                    .shows("Imported"),
            )],
        )
}

fn pool_routes(routes: Routes) -> Routes {
    let operator = |summary| Doc::new(summary).access(Access::Operator);
    let most = Parameter::whole("limit", 0, 10_000, "at most so many of each list");
    routes
        .at(
            "/admin/v1/pool",
            [get(pool::show, operator("What is where in the pool, and why").takes(&[most]).shows("Pool"))],
        )
        .at(
            "/admin/v1/pool/policy",
            [patch(
                pool::switch,
                operator("Switch the policy of the pool; what is not named stays")
                    .body("Object")
                    .shows("Object"),
            )],
        )
        .at(
            "/admin/v1/pool/nodes/{node}/drain",
            [post(pool::drain, operator("Let a node be emptied").shows("Message"))],
        )
        .at(
            "/admin/v1/pool/nodes/{node}/restore",
            [post(pool::restore, operator("Let a node take containers again").shows("Message"))],
        )
}

/// Asynchronous calls, for their owner or for the operator.
fn calls(routes: Routes, path: &str, access: Access) -> Routes {
    let below = |rest: &str| format!("{path}/{rest}");
    let namespace: &[Parameter] = match access {
        Access::Operator => &[Parameter::text("namespace", "of this namespace")],
        _ => &[],
    };
    let doc = |summary| Doc::new(summary).access(access).takes(namespace);
    let action = Parameter::text("action", "of this action, `name` or `/namespace/name`");
    let filter = [Parameter::text("state", "in this state"), action, SINCE, UPTO];
    let most = Parameter::whole("limit", 0, 1000, "at most so many");
    let before = Parameter::whole("before", 0, 9_007_199_254_740_991, "ended before, epoch milliseconds");
    let asked = |summary| doc(summary).answers(202, Shown::Json("ActivationId"));
    routes
        .at(
            path,
            [
                get(
                    asynchronous::list,
                    doc("List asynchronous calls").takes(&PAGE[..2]).takes(&filter).lists("Call"),
                ),
                delete(
                    asynchronous::purge,
                    doc("Remove calls that are over").takes(&filter).takes(&[most, before]).shows("Purged"),
                ),
            ],
        )
        .at(&below("summary"), [get(asynchronous::summary, doc("Count calls by state").shows("Object"))])
        .at(
            &below("callback-key"),
            [get(asynchronous::callback_key, doc("Read the key of callbacks").shows("Object"))],
        )
        .at(
            &below("redrive"),
            [post(
                asynchronous::redrive_all,
                doc("Redrive dead letters").takes(&[action, most]).shows("Redriven"),
            )],
        )
        .at(
            &below("{id}"),
            [
                get(asynchronous::get, doc("Read an asynchronous call").shows("Call")),
                delete(asynchronous::cancel, asked("Cancel a call")),
            ],
        )
        .at(&below("{id}/retry"), [post(asynchronous::retry, asked("Let a call that waits start now"))])
        .at(&below("{id}/redrive"), [post(asynchronous::redrive, asked("Make a new call of a dead letter"))])
}

fn under(path: &str) -> String {
    format!("/api/v1/namespaces/{{ns}}/{path}")
}

/// Of an operation that needs no credential.
fn anyone(summary: &'static str) -> Doc {
    Doc::new(summary).access(Access::Anyone)
}

/// Of a list, or their number.
fn list(summary: &'static str, item: &'static str) -> Doc {
    Doc::new(summary).takes(&PAGE).answers(200, Shown::ListOr(item, "Count"))
}
