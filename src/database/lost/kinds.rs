//! What there can be in a database that an application or an operator would miss, each kind with its catalog query.
//!
//! A query gives: within what it is (`relation public.orders`), whom it concerns (a role, for grants), its name, and what of it
//! (the privilege). The system's own things, members of extensions and what hangs on a partition are left out.

/// One kind of thing.
#[derive(Debug)]
pub struct Kind {
    pub one: &'static str,
    pub many: &'static str,
    /// As what its parts name it, where it has parts: `relation`.
    pub holds: Option<&'static str>,
    /// What of a restore's settings decides about it.
    pub about: About,
    /// With `{own}` for "in a schema of the user's", `{free c}` for "`c` is of no extension", `{acl}` for an access list's entry.
    sql: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Object,
    Grant,
    /// On what will be created: whoever owns all that is restored doesn't own that.
    Later,
    Owner,
}

impl Kind {
    /// The whole query.
    pub fn query(&self) -> String {
        let mut sql = self.sql.replace("{own}", OWN).replace("{acl}", ACL);
        for (catalog, alias) in MEMBERS {
            let place = format!("{{free {alias}}}");
            let free = format!(
                "NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = '{catalog}'::regclass AND m.objid = {alias}.oid AND m.deptype = 'e')"
            );
            sql = sql.replace(&place, &free);
        }
        sql + " ORDER BY 2, 3, 4"
    }
}

/// The alias of each catalog in the queries.
const MEMBERS: [(&str, &str); 10] = [
    ("pg_namespace", "n"),
    ("pg_class", "c"),
    ("pg_proc", "p"),
    ("pg_type", "t"),
    ("pg_collation", "co"),
    ("pg_operator", "o"),
    ("pg_ts_config", "ts"),
    ("pg_foreign_server", "s"),
    ("pg_event_trigger", "e"),
    ("pg_publication", "pub"),
];

/// The user's own schemas; temporary ones begin with `pg_` too.
const OWN: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// Whom an entry `a` of an access list is for, and what it allows.
const ACL: &str =
    "CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(a.grantee)) END, ";

const fn object(
    one: &'static str,
    many: &'static str,
    holds: Option<&'static str>,
    sql: &'static str,
) -> Kind {
    Kind {
        one,
        many,
        holds,
        about: About::Object,
        sql,
    }
}

const fn grant(sql: &'static str) -> Kind {
    Kind {
        one: "grant",
        many: "grants",
        holds: None,
        about: About::Grant,
        sql,
    }
}

const fn owner(sql: &'static str) -> Kind {
    Kind {
        one: "object owned",
        many: "objects owned",
        holds: None,
        about: About::Owner,
        sql,
    }
}

/// All kinds; what holds others stands before them.
pub const KINDS: [Kind; 36] = [
    object("schema", "schemas", Some("schema"),
        "SELECT '', '', format('%I', nspname), '' FROM pg_namespace n WHERE {own} AND {free n}"),
    object("extension", "extensions", None,
        "SELECT '', '', format('%I', extname), '' FROM pg_extension"),
    object("table", "tables", Some("relation"),
        "SELECT '', '', format('%I.%I', nspname, relname), '' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition AND {own} AND {free c}"),
    object("partition", "partitions", Some("relation"),
        "SELECT format('relation %I.%I', pn.nspname, pc.relname), '', format('%I.%I', n.nspname, c.relname), ''
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class pc ON pc.oid = pg_partition_root(c.oid) JOIN pg_namespace pn ON pn.oid = pc.relnamespace
         WHERE c.relkind IN ('r', 'p', 'f') AND c.relispartition AND {own} AND {free c}"),
    object("view", "views", Some("relation"),
        "SELECT '', '', format('%I.%I', nspname, relname), '' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind = 'v' AND {own} AND {free c}"),
    object("materialized view", "materialized views", Some("relation"),
        "SELECT '', '', format('%I.%I', nspname, relname), '' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind = 'm' AND {own} AND {free c}"),
    object("sequence", "sequences", Some("relation"),
        "SELECT coalesce(format('relation %I.%I', tn.nspname, tc.relname), ''), '', format('%I.%I', n.nspname, c.relname), ''
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
             AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
         LEFT JOIN pg_class tc ON tc.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = tc.relnamespace
         WHERE c.relkind = 'S' AND {own} AND {free c}"),
    object("column", "columns", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I.%I.%I', nspname, relname, attname), ''
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT relispartition AND attnum > 0 AND NOT attisdropped
         AND attislocal AND {own} AND {free c}"),
    object("constraint", "constraints", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I on %I.%I', conname, nspname, relname), ''
         FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
         WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND conparentid = 0 AND conislocal AND NOT relispartition AND {own} AND {free c}"),
    object("index", "indexes", None,
        "SELECT format('relation %I.%I', n.nspname, r.relname), '', format('%I on %I.%I', c.relname, n.nspname, r.relname), ''
         FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_class r ON r.oid = indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
         WHERE NOT r.relispartition AND {own} AND {free c}
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'e')
         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = indexrelid AND k.contype IN ('p', 'u', 'x'))"),
    object("trigger", "triggers", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I on %I.%I', tgname, nspname, relname), ''
         FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
         WHERE NOT tgisinternal AND NOT relispartition AND {own} AND {free c}"),
    object("rule", "rules", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I on %I.%I', rulename, nspname, relname), ''
         FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class JOIN pg_namespace n ON n.oid = relnamespace
         WHERE rulename <> '_RETURN' AND {own} AND {free c}"),
    object("policy", "policies", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I on %I.%I', polname, nspname, relname), ''
         FROM pg_policy JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {own} AND {free c}"),
    object("table with row-level security", "tables with row-level security", None,
        "SELECT format('relation %I.%I', nspname, relname), '', format('%I.%I', nspname, relname), ''
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relrowsecurity AND {own} AND {free c}"),
    object("function", "functions", Some("function"),
        "SELECT '', '', format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), ''
         FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE {own} AND {free p}"),
    object("type", "types", Some("type"),
        "SELECT '', '', format('%I.%I', nspname, typname), '' FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
         LEFT JOIN pg_class r ON r.oid = typrelid
         WHERE typtype IN ('b', 'c', 'd', 'e', 'r') AND (typtype <> 'c' OR r.relkind = 'c') AND {own} AND {free t}
         AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)"),
    object("value of a type", "values of types", None,
        "SELECT format('type %I.%I', nspname, typname), '', format('%L of %I.%I', enumlabel, nspname, typname), ''
         FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace WHERE {own} AND {free t}"),
    object("collation", "collations", None,
        "SELECT '', '', format('%I.%I', nspname, collname), '' FROM pg_collation co JOIN pg_namespace n ON n.oid = collnamespace
         WHERE {own} AND {free co}"),
    object("operator", "operators", None,
        "SELECT '', '', format('%I.%s(%s, %s)', nspname, oprname, oprleft::regtype, oprright::regtype), ''
         FROM pg_operator o JOIN pg_namespace n ON n.oid = oprnamespace WHERE {own} AND {free o}"),
    object("text search configuration", "text search configurations", None,
        "SELECT '', '', format('%I.%I', nspname, cfgname), '' FROM pg_ts_config ts JOIN pg_namespace n ON n.oid = cfgnamespace
         WHERE {own} AND {free ts}"),
    object("statistics object", "statistics objects", None,
        "SELECT format('relation %I.%I', n.nspname, c.relname), '', format('%I on %I.%I', stxname, n.nspname, c.relname), ''
         FROM pg_statistic_ext JOIN pg_class c ON c.oid = stxrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {own} AND {free c}"),
    object("foreign server", "foreign servers", Some("server"),
        "SELECT '', '', format('%I', srvname), '' FROM pg_foreign_server s WHERE {free s}"),
    object("user mapping", "user mappings", None,
        "SELECT format('server %I', srvname), '', format('%I on %I', usename, srvname), '' FROM pg_user_mappings"),
    object("event trigger", "event triggers", None,
        "SELECT '', '', format('%I', evtname), '' FROM pg_event_trigger e WHERE {free e}"),
    object("publication", "publications", Some("publication"),
        "SELECT '', '', format('%I', pubname), '' FROM pg_publication pub WHERE {free pub}"),
    object("published table", "published tables", None,
        "SELECT format('publication %I', pubname), '', format('%I.%I in %I', nspname, relname, pubname), ''
         FROM pg_publication_rel JOIN pg_publication pub ON pub.oid = prpubid JOIN pg_class c ON c.oid = prrelid
         JOIN pg_namespace n ON n.oid = relnamespace"),
    grant("SELECT format('relation %I.%I', nspname, relname), {acl} format('%I.%I', nspname, relname), a.privilege_type
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, aclexplode(relacl) a
         WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT relispartition AND a.grantee <> relowner AND {own} AND {free c}"),
    grant("SELECT format('relation %I.%I', nspname, relname), {acl} format('%I.%I.%I', nspname, relname, attname), a.privilege_type
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace, aclexplode(attacl) a
         WHERE attnum > 0 AND NOT attisdropped AND a.grantee <> relowner AND {own} AND {free c}"),
    grant("SELECT format('schema %I', nspname), {acl} format('schema %I', nspname), a.privilege_type
         FROM pg_namespace n, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
         WHERE a.grantee <> nspowner AND {own} AND {free n}"),
    grant("SELECT format('function %I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), {acl}
         format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), a.privilege_type
         FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
         WHERE a.grantee <> proowner AND {own} AND {free p}"),
    grant("SELECT format('type %I.%I', nspname, typname), {acl} format('type %I.%I', nspname, typname), a.privilege_type
         FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace, aclexplode(typacl) a
         WHERE a.grantee <> typowner AND {own} AND {free t}"),
    grant("SELECT format('server %I', srvname), {acl} format('foreign server %I', srvname), a.privilege_type
         FROM pg_foreign_server s, aclexplode(srvacl) a WHERE a.grantee <> srvowner AND {free s}"),
    Kind { about: About::Later, ..grant("SELECT coalesce('schema ' || quote_ident(nspname), ''), {acl}
         concat('what ', quote_ident(pg_get_userbyid(defaclrole)), ' will create', ' in schema ' || quote_ident(nspname), ': ',
             CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
             WHEN 'n' THEN 'schemas' ELSE 'large objects' END), a.privilege_type
         FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl) a
         WHERE a.grantee <> defaclrole") },
    owner("SELECT format('relation %I.%I', nspname, relname), format('%I', pg_get_userbyid(relowner)), format('%I.%I', nspname, relname), ''
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT relispartition AND {own} AND {free c}"),
    owner("SELECT format('schema %I', nspname), format('%I', pg_get_userbyid(nspowner)), format('schema %I', nspname), ''
         FROM pg_namespace n WHERE {own} AND {free n}"),
    owner("SELECT format('function %I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
         format('%I', pg_get_userbyid(proowner)), format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), ''
         FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE {own} AND {free p}"),
];
