-- A short question, answered whole, with the key in the environment.
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
wrk.body = '{"model":"sim-small","messages":[{"role":"user","content":"What is the tallest mountain of the Alps?"}],"max_tokens":16}'

local threads = {}
function setup(thread) table.insert(threads, thread) end
refused = 0
function response(status) if status ~= 200 then refused = refused + 1 end end
function done()
  for _, thread in ipairs(threads) do
    if thread:get("refused") > 0 then print("  REFUSED: " .. thread:get("refused")) end
  end
end
