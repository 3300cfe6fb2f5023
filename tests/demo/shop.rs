//! The database of the demonstration: a small shop, in last night's state and as it was a week before.

/// Customers, articles, orders of the last months up to last night; all of it follows from row numbers.
pub const LAST_NIGHT: &str = "
create table customers (
    id integer primary key,
    name text not null,
    town text not null,
    since date not null
);
create table articles (
    id integer primary key,
    name text not null unique,
    price numeric(8, 2) not null check (price > 0)
);
create table orders (
    id integer primary key,
    customer_id integer not null references customers,
    placed timestamp not null,
    state text not null default 'paid' check (state in ('paid', 'packed', 'sent'))
);
create table items (
    order_id integer not null references orders on delete cascade,
    article_id integer not null references articles,
    pieces integer not null check (pieces > 0),
    primary key (order_id, article_id)
);

insert into customers
select n,
       (array['Ada', 'Bruno', 'Clara', 'Emil', 'Frida', 'Hedy', 'Ida', 'Jonas', 'Lena', 'Max', 'Nora', 'Otto', 'Paula'])[n * 5 % 13 + 1]
       || ' ' ||
       (array['Abel', 'Berg', 'Conti', 'Dahl', 'Evers', 'Fink', 'Graf', 'Holm', 'Jansen', 'Keller', 'Lund'])[n * 7 % 11 + 1],
       (array['Graz', 'Bern', 'Ulm', 'Bozen', 'Lyon', 'Aarhus', 'Ghent'])[n * 3 % 7 + 1],
       current_date - (900 - n * 2)
from generate_series(1, 420) n;

insert into articles (id, name, price) values
    (1, 'Teapot, blue', 38.00), (2, 'Teacup', 9.50), (3, 'Breakfast plate', 14.90), (4, 'Bread board, oak', 27.00),
    (5, 'Linen towel', 11.20), (6, 'Egg timer', 6.80), (7, 'Pepper mill', 44.00), (8, 'Cast iron pan', 72.50),
    (9, 'Wooden spoon', 4.20), (10, 'Preserving jar', 3.60), (11, 'Apron', 24.00), (12, 'Kitchen scale', 59.00);

insert into orders
select n,
       n * 31 % (20 + n / 8) + 1,
       date_trunc('minute', current_date - interval '13 minutes' - (3200 - n) * interval '61 minutes'),
       case when n > 3170 then 'paid' when n > 3120 then 'packed' else 'sent' end
from generate_series(1, 3200) n;

insert into items
select o.id, (o.id * 7 + k * 5) % 12 + 1, (o.id + k) % 3 + 1
from orders o, generate_series(0, 2) k
where k <= o.id % 3;

create index on orders (customer_id);
create function total_of(integer) returns numeric language sql stable as
    'select sum(i.pieces * a.price) from public.items i join public.articles a on a.id = i.article_id where i.order_id = $1';
create view newest_orders as
    select o.id as order, o.placed, c.name as customer, c.town, total_of(o.id) as total
    from orders o join customers c on c.id = o.customer_id order by o.id desc;
create view at_a_glance as
    select (select count(*) from customers) as customers, count(*) as orders, max(placed) as newest, sum(total_of(id)) as turnover
    from orders;
comment on view newest_orders is 'What the packing table looks at';
";

/// Takes the last week back, so that the live database is behind.
pub const A_WEEK_BEFORE: &str = "
delete from orders where placed > current_date - interval '7 days';
delete from customers c where not exists (select from orders where customer_id = c.id);
update orders set state = 'packed' where id > (select max(id) - 40 from orders);
";

/// What shows at a glance which state is live.
pub const SUMMARY: &str = "select * from at_a_glance";

pub const NEWEST: &str = "select * from newest_orders limit 5";
