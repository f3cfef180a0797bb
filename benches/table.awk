# Lines of "part, figure, server, value" become rows of a table in Markdown: medians of all runs, and
# kstore's as a ratio to those of the other server, whose name is the variable `peer`.
function median(name,   n, values, i, j, v) {
  n = split(all[name], values, " ")
  for (i = 2; i <= n; i++) {
    v = values[i] + 0
    for (j = i - 1; j > 0 && values[j] + 0 > v; j--) values[j + 1] = values[j]
    values[j + 1] = v
  }
  return n == 0 ? "" : (values[int((n + 1) / 2)] + values[int(n / 2) + 1]) / 2
}
{
  row = $1 FS $2
  if (!(row in seen)) { seen[row] = 1; rows[++count] = row }
  all[row FS $3] = all[row FS $3] " " $4
}
END {
  unit["per_second"] = "operations/s"; unit["p50_us"] = "p50, µs"; unit["p99_us"] = "p99, µs"
  unit["server_cpu_per_million"] = "server CPU, s per million"
  unit["client_cpu_per_million"] = "client CPU, s per million"
  unit["written_per_byte"] = "bytes written per byte"
  unit["resident_mib"] = "resident, MiB"; unit["peak_mib"] = "peak, MiB"
  unit["ready_ms"] = "start to first read, ms"
  for (i = 1; i <= count; i++) {
    split(rows[i], part, FS)
    ours = median(rows[i] FS "kstore"); theirs = median(rows[i] FS peer)
    ratio = theirs > 0 ? sprintf("%.2f", ours / theirs) : ""
    printf "| %s | %s | %s | %s | %s |\n", part[1], unit[part[2]], ours, theirs, ratio
  }
}
