-- `apply_one_1` with the data of the entry: of a reservation, the name of the request that opened it.
-- Programs of the step before do not mind.

CREATE FUNCTION {schema}.apply_one_2(
    p_now bigint, p_until bigint, t_name text, t_exact bigint,
    a_id bigint[], a_limit bigint[], a_settled bigint[], a_held bigint[], a_most bigint[],
    e_kind text, e_key text, e_budget text, e_usd bigint, e_calls bigint, e_tokens bigint,
    e_prior bigint, e_ttl bigint, e_accounts text, e_labels text,
    e_data text,
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
        seq, at, kind, "key", budget, usd, calls, tokens, prior, data
    ) VALUES (first, p_now, e_kind, e_key, e_budget, e_usd, e_calls, e_tokens, e_prior, e_data);
    IF e_kind = 'reserve' THEN
        INSERT INTO {schema}.reservation (
            "key", budget, usd, calls, tokens, state, accounts, opened, expires, closed, labels,
            seq, last
        ) VALUES (
            e_key, e_budget, e_usd, e_calls, e_tokens, 'open', e_accounts, p_now, p_now + e_ttl, 0,
            e_labels, first, first
        );
        RETURN;
    END IF;
    UPDATE {schema}.reservation r
    SET state = CASE e_kind WHEN 'settle' THEN 'settled' ELSE 'released' END,
        closed = p_now, actual_usd = e_usd, actual_calls = e_calls, actual_tokens = e_tokens,
        last = first
    WHERE r."key" = e_key AND r.last = e_prior;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a reservation changed meanwhile' USING ERRCODE = 'EM001';
    END IF;
    IF v_waited > extract(epoch FROM clock_timestamp()) * 1000000000 THEN
        PERFORM pg_notify('earmark', '{schema}');
    END IF;
END
$$;
