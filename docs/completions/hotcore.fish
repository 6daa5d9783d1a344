# Completions of hotcore.
