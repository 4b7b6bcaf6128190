# semantoks in R: nothing but base R, since the tables are tab-separated text.
#
#   semantoks BIDS OUT group --tsv --connectivity
#   Rscript 6_in_r.R OUT
#
# Parquet reads with arrow::read_parquet("OUT/group_desc-scan_embedding.parquet").

arguments <- commandArgs(trailingOnly = TRUE)
out <- if (length(arguments)) arguments[1] else "demo/semantoks"

# One row per scan. "n/a" is missing; text such as 01 stays text.
table <- read.delim(
  file.path(out, "group_desc-scan_embedding.tsv"),
  na.strings = "n/a", check.names = FALSE, quote = "",
  colClasses = c(participant_id = "character")
)
is_number <- grepl("^[A-Za-z][A-Za-z0-9]*_[0-9]{3,}$", names(table))
# The scan vector of the bundled weights: all rows, without the summaries mean and cls.
in_vector <- is_number & !grepl("^(mean|cls|short[0-9]*)_", names(table))
X <- as.matrix(table[, in_vector])
scans <- table[, !is_number]
cat(nrow(X), "scans,", ncol(X), "numbers each\n")
print(head(scans[, c("participant_id", "task_id", "mean_fd", "usable_seconds")]))

# How alike are scans of one person, and of two? Expect the first clearly above the second.
# Left out: networks that a scan lacks, and columns that differ by rounding alone
# (ConstantColumns in the JSON), of which prcomp(X, scale. = TRUE) would stop.
X <- X[, colSums(is.na(X)) == 0]
X <- X[, apply(X, 2, sd) > 1e-3]
alike <- cor(t(scale(X, scale = FALSE)))
pairs <- upper.tri(alike)
same <- outer(scans$participant_id, scans$participant_id, "==")
cat(sprintf(
  "within people %.2f, between %.2f\n",
  mean(alike[pairs & same]), mean(alike[pairs & !same])
))

# A matrix of connectivity, with the names of the parcels.
files <- list.files(
  out, pattern = "_stat-pearsoncorrelation_relmat[.]tsv$", recursive = TRUE, full.names = TRUE
)
if (length(files)) {
  fc <- as.matrix(read.delim(
    files[1], row.names = 1, na.strings = "n/a", check.names = FALSE, quote = ""
  ))
  cat(basename(files[1]), ":", dim(fc), "\n")
}
