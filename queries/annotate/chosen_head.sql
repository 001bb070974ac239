-- asks:    Which head does a name mean?
-- params:  head TEXT -- name of the head: its newest is meant; or its id
-- reads:   heads
-- grain:   one row
-- columns: head_id, head, class_set, class_set_version
SELECT head_id, head, class_set, class_set_version
FROM heads
WHERE head = $head OR head_id = $head
ORDER BY created_at DESC, head_id
LIMIT 1
