module github.com/otherjamesbrown/ai-aas/tests/load

go 1.26.0
