-- asks:    Which imported extractors have a model or embeddings, and which others have neither?
-- params:  none
-- reads:   extractors
-- grain:   one row per extractor
-- columns: extractor_id, kind, model_type, embedding_dim, embedding_space
SELECT extractor_id, kind, model_type, embedding_dim, embedding_space
FROM extractors
WHERE (kind IN ('imported masks', 'imported boxes'))
      = (model_type IS NOT NULL OR embedding_dim IS NOT NULL OR embedding_space IS NOT NULL)
