-- Counts of units that have no column of their own: every unit but usd, calls and tokens, so that a
-- later one needs no migration. Older programs cannot count them: their functions are taken away.

-- JSON: {unit: count}, of what is held, of what it came to, of what an entry is about; NULL for none.
ALTER TABLE {schema}.reservation ADD COLUMN counts text, ADD COLUMN actual_counts text;
ALTER TABLE {schema}.entry ADD COLUMN counts text;

DROP FUNCTION {schema}.apply_1;
DROP FUNCTION {schema}.apply_one_1;
DROP FUNCTION {schema}.apply_one_2;

-- Writes one batch that the client has decided, if what it was decided on still holds.
--
-- The client folds its operations over what it knows of the rows; here the trees are locked and the
-- decisions checked against what the rows really are. When nobody else wrote to the trees since the
-- client last looked (`t_exact`), they hold as they are. When somebody did, sums may differ, and the
-- batch still holds if it is made of accepted operations only and they fit: no account goes above
-- its limit (`a_most`), none reaches an alert (`a_below`), no budget changed, no reservation it
-- closes was closed. Otherwise `first` is null, nothing was written, and the client decides again
-- on rows it has locked (`p_locked`: then nothing is checked but the limits).
--
-- t_*: trees in the order of their names, with the position of their last entry in the batch, how
--      many entries they get, the shortest time to live of what is opened, the position of the last
--      entry that changes a budget (or 0), and when the next deadline is, where the client knows.
-- n_*: accounts to make. a_*: accounts to change, by how much.
-- e_*: entries in their order; a negative prior is a position in the batch. With a time to live an
--      entry opens a reservation; with `was` it closes one, whose last entry that is, 0 for any.
--      `e_counts` and `g_counts` are JSON. Arrays may end early: what is missing is null. `p_opens` and `p_closes` count them.
-- g_*: reservations to make larger, by the position of the entry that does it last.
CREATE FUNCTION {schema}.apply_2(
    p_now bigint, p_until bigint, p_strict boolean, p_locked boolean,
    t_name text[], t_exact bigint[], t_last int[], t_count int[], t_ttl bigint[],
    t_budgets int[], t_next bigint[],
    n_id bigint[], n_budget text[], n_unit text[], n_window text[], n_start bigint[],
    n_end bigint[],
    a_id bigint[], a_limit bigint[], a_settled bigint[], a_held bigint[], a_most bigint[],
    a_below bigint[],
    e_kind text[], e_key text[], e_budget text[], e_usd bigint[], e_calls bigint[],
    e_tokens bigint[], e_prior bigint[], e_ttl bigint[], e_accounts text[], e_was bigint[],
    e_labels text[], e_data text[], e_counts text[],
    g_key text[], g_at int[], g_usd bigint[], g_calls bigint[], g_tokens bigint[],
    g_counts text[], g_asked text[],
    p_opens int, p_closes int,
    OUT first bigint, OUT now bigint, OUT exact boolean, OUT seqs bigint[]
) LANGUAGE plpgsql
-- The tables are found by their keys, however small they were when the plan was made.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan SET jit = off SET lock_timeout = '10s'
AS $$
DECLARE
    v_tree record;
    v_place int;
    v_found int := 0;
    v_waited bigint := 0;
    v_rows bigint;
    v_size int := cardinality(e_kind);
BEGIN
    now := p_now;
    exact := true;
    FOR v_tree IN
        SELECT * FROM {schema}.tree t WHERE t.name = ANY (t_name) ORDER BY t.name
        FOR NO KEY UPDATE
    LOOP
        v_found := v_found + 1;
        v_place := array_position(t_name, v_tree.name);
        now := greatest(now, v_tree.at);
        v_waited := greatest(v_waited, v_tree.waited_until);
        IF NOT p_locked THEN
            IF v_tree.last <> t_exact[v_place] THEN
                IF p_strict OR v_tree.budgets_at > t_exact[v_place] THEN
                    RETURN;
                END IF;
                exact := false;
            END IF;
            IF now >= v_tree.next_due THEN
                RETURN;
            END IF;
        END IF;
    END LOOP;
    IF v_found <> cardinality(t_name) OR now >= p_until THEN
        RETURN;
    END IF;
    IF NOT exact AND EXISTS (
        SELECT FROM unnest(a_id, a_most, a_below) AS d (id, most, below)
        JOIN {schema}.account a ON a.id = d.id
        WHERE a.settled > d.most - a.held OR a.settled >= d.below
    ) THEN
        RETURN;
    END IF;

    IF cardinality(n_id) > 0 THEN
        INSERT INTO {schema}.account (
            id, budget, unit, "window", start, "end", "limit", settled, held, alerted
        )
        SELECT id, budget, unit, "window", start, "end", 0, 0, 0, 0
        FROM unnest(n_id, n_budget, n_unit, n_window, n_start, n_end)
            AS n (id, budget, unit, "window", start, "end");
    END IF;
    -- The limits are checked here whatever was checked before: nothing may make this go above them.
    UPDATE {schema}.account a
    SET settled = a.settled + d.settled, held = a.held + d.held, "limit" = d."limit"
    FROM unnest(a_id, a_limit, a_settled, a_held, a_most)
        AS d (id, "limit", settled, held, most)
    WHERE a.id = d.id AND (d.most IS NULL OR a.settled <= d.most - a.held);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> cardinality(a_id) THEN
        RAISE EXCEPTION 'an account is not what the batch was decided on' USING ERRCODE = 'EM001';
    END IF;

    seqs := ARRAY(SELECT nextval('{schema}.entry_seq') FROM generate_series(1, v_size));
    INSERT INTO {schema}.entry (
        seq, at, kind, "key", budget, usd, calls, tokens, counts, prior, data
    )
    SELECT seq, apply_2.now, kind, "key", budget, usd, calls, tokens, counts,
        CASE WHEN prior < 0 THEN seqs[-prior] ELSE prior END, coalesce(data, '')
    FROM unnest(seqs, e_kind, e_key, e_budget, e_usd, e_calls, e_tokens, e_counts, e_prior, e_data)
        AS e (seq, kind, "key", budget, usd, calls, tokens, counts, prior, data);
    IF p_opens > 0 THEN
        INSERT INTO {schema}.reservation (
            "key", budget, usd, calls, tokens, counts, state, accounts, opened, expires, closed,
            labels, seq, last
        )
        SELECT "key", budget, usd, calls, tokens, counts, 'open', accounts, apply_2.now,
            apply_2.now + ttl, 0, coalesce(labels, ''), seq, seq
        FROM unnest(
            seqs, e_key, e_budget, e_usd, e_calls, e_tokens, e_counts, e_ttl, e_accounts, e_labels
        ) AS e (seq, "key", budget, usd, calls, tokens, counts, ttl, accounts, labels)
        WHERE ttl IS NOT NULL;
    END IF;
    IF cardinality(g_at) > 0 THEN
        UPDATE {schema}.reservation r
        SET usd = g.usd, calls = g.calls, tokens = g.tokens, counts = g.counts, asked = g.asked,
            last = seqs[g.at]
        FROM unnest(g_key, g_at, g_usd, g_calls, g_tokens, g_counts, g_asked)
            AS g ("key", at, usd, calls, tokens, counts, asked)
        WHERE r."key" = g."key";
    END IF;
    IF p_closes > 0 THEN
        UPDATE {schema}.reservation r
        SET state = CASE e.kind
                WHEN 'settle' THEN 'settled' WHEN 'release' THEN 'released' ELSE 'presumed' END,
            closed = apply_2.now, actual_usd = e.usd, actual_calls = e.calls,
            actual_tokens = e.tokens, actual_counts = e.counts, last = e.seq
        FROM unnest(seqs, e_kind, e_key, e_usd, e_calls, e_tokens, e_counts, e_was)
            AS e (seq, kind, "key", usd, calls, tokens, counts, was)
        WHERE e.was IS NOT NULL AND r."key" = e."key" AND (e.was = 0 OR r.last = e.was);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        IF v_rows <> p_closes THEN
            RAISE EXCEPTION 'a reservation changed meanwhile' USING ERRCODE = 'EM001';
        END IF;
    END IF;

    UPDATE {schema}.tree t
    SET last = CASE WHEN d.last > 0 THEN seqs[d.last] ELSE t.last END,
        entries = t.entries + d.count,
        at = CASE WHEN d.count > 0 THEN apply_2.now ELSE t.at END,
        next_due = least(coalesce(d.next, t.next_due), apply_2.now + d.ttl),
        budgets_at = CASE WHEN d.budgets > 0 THEN seqs[d.budgets] ELSE t.budgets_at END
    FROM unnest(t_name, t_last, t_count, t_ttl, t_budgets, t_next)
        AS d (name, last, count, ttl, budgets, next)
    WHERE t.name = d.name;

    IF v_waited > extract(epoch FROM clock_timestamp()) * 1000000000
        AND (p_closes > 0 OR e_kind && ARRAY['limit', 'resume', 'extension']) THEN
        PERFORM pg_notify('earmark', '{schema}');
    END IF;
    first := coalesce(seqs[1], 0);
    IF seqs[v_size] = first + v_size - 1 THEN
        seqs := NULL;
    END IF;
END
$$;

-- Writes one operation on a reservation, in a tree to which nobody else wrote since the client last
-- looked; otherwise `first` is null and nothing was written. It does what `apply_2` does, in half
-- the time: a quiet ledger writes one operation at a time.
CREATE FUNCTION {schema}.apply_one_3(
    p_now bigint, p_until bigint, t_name text, t_exact bigint,
    a_id bigint[], a_limit bigint[], a_settled bigint[], a_held bigint[], a_most bigint[],
    e_kind text, e_key text, e_budget text, e_usd bigint, e_calls bigint, e_tokens bigint,
    e_prior bigint, e_ttl bigint, e_accounts text, e_labels text,
    e_data text, e_counts text,
    OUT first bigint
) LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '10s'
AS $$
DECLARE
    v_waited bigint;
    v_rows bigint;
BEGIN
    UPDATE {schema}.tree t
    SET last = nextval('{schema}.entry_seq'), entries = t.entries + 1, at = p_now,
        next_due = least(t.next_due, p_now + e_ttl)
    WHERE t.name = t_name AND t.last = t_exact AND t.next_due > p_now AND t.at <= p_now
        AND p_now < p_until
    RETURNING t.last, t.waited_until INTO first, v_waited;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE {schema}.account a
    SET settled = a.settled + a_settled[p.n], held = a.held + a_held[p.n], "limit" = a_limit[p.n]
    FROM generate_subscripts(a_id, 1) AS p (n)
    WHERE a.id = a_id[p.n] AND (a_most[p.n] IS NULL OR a.settled <= a_most[p.n] - a.held);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> cardinality(a_id) THEN
        RAISE EXCEPTION 'an account is not what the batch was decided on' USING ERRCODE = 'EM001';
    END IF;
    INSERT INTO {schema}.entry (
        seq, at, kind, "key", budget, usd, calls, tokens, counts, prior, data
    ) VALUES (
        first, p_now, e_kind, e_key, e_budget, e_usd, e_calls, e_tokens, e_counts, e_prior, e_data
    );
    IF e_kind = 'reserve' THEN
        INSERT INTO {schema}.reservation (
            "key", budget, usd, calls, tokens, counts, state, accounts, opened, expires, closed,
            labels, seq, last
        ) VALUES (
            e_key, e_budget, e_usd, e_calls, e_tokens, e_counts, 'open', e_accounts, p_now,
            p_now + e_ttl, 0, e_labels, first, first
        );
        RETURN;
    END IF;
    UPDATE {schema}.reservation r
    SET state = CASE e_kind WHEN 'settle' THEN 'settled' ELSE 'released' END,
        closed = p_now, actual_usd = e_usd, actual_calls = e_calls, actual_tokens = e_tokens,
        actual_counts = e_counts, last = first
    WHERE r."key" = e_key AND r.last = e_prior;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a reservation changed meanwhile' USING ERRCODE = 'EM001';
    END IF;
    IF v_waited > extract(epoch FROM clock_timestamp()) * 1000000000 THEN
        PERFORM pg_notify('earmark', '{schema}');
    END IF;
END
$$;
