"""Every fault of the whole product (X), tables (S), notes (N) or versioned data (C), by its row: where it is tested.

`ROWS` names the tests of each row; `[word…]` behind a name is the beginning of a parameter. What had no test of its own elsewhere
has one below. `ELSEWHERE` says which part of a row no test here can show, and why; that is printed with the skipped tests.
"""

from __future__ import annotations

import ast
import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Freshness, Result
from resources.locks import file_lock
from resources.storage.local import LocalStorage
from resources.workspace import open_workspace
from schemas import csv_text, json_text, toml_text, yaml_text, yaml_write
from schemas.errors import HeadwaterError, InvalidText
from tests.orchestration.cli.conftest import write_project

ROOT = Path(__file__).resolve().parents[1]
HERE = "tests/test_faults_rows.py"
TEXT = "tests/orchestration/cli/test_faults_table.py::test_bad_text_is_one_finding_and_nothing_is_written"
HURT = "tests/schemas/test_hostile.py::test_hostile_text_ends_soon_in_one_error"
CORPUS = "tests/schemas/test_corpus.py::test_corpus"
CLI = "tests/orchestration/cli"
ENGINE = "tests/assets/engine"
TABLES = "tests/assets/tables"
LOCAL = "tests/resources/storage/test_local_storage.py"
LOG = "tests/schemas/tables/test_history.py"
STRICT = "tests/schemas/tables/test_strict.py"
NAMES = "tests/schemas/test_names.py"
SERVE = "tests/orchestration/ui/test_serve.py"
FRONT = "tests/schemas/notes/test_front.py"
EDIT = "tests/schemas/notes/test_edit.py"
SCAN = "tests/schemas/notes/test_scan.py"
NOTES = "tests/orchestration/cli/test_notes_faults.py"
DVS = "tests/resources/dvs"
DVS_CLI = f"{CLI}/test_dvs.py"
KEEP = f"{CLI}/test_dvs_keep.py"
DVS_ROWS = f"{DVS}/test_row_faults.py"
KILLED = "tests/faults/test_dvs_faults.py::test_killed_before_any_call_loses_nothing"
FETCHING = f"{DVS}/test_fetching.py"
SERVER = "tests/resources/server"
OBJECTS = f"{SERVER}/test_objects_http.py"
ACCESS = f"{SERVER}/test_access_http.py"
BROKEN = f"{SERVER}/test_server_faults.py"
TOKENS = f"{SERVER}/test_tokens.py"
REMOTE = "tests/resources/remotes/test_http_remote.py"
S3 = "tests/resources/storage/test_remote_storage.py"

ROWS: dict[int, tuple[str, ...]] = {
    1: (f"{TEXT}[1 alias bomb]", f"{HURT}[yaml alias bomb]"),
    2: (f"{TEXT}[2 a list in itself]",),
    3: (f"{TEXT}[3 deep nesting]", f"{HURT}[yaml nesting that kills libyaml]", f"{HURT}[yaml nested]"),
    4: (f"{TEXT}[4 a tag of Python]", f"{TEXT}[4 a tag]", f"{HERE}::test_row_4_no_loader_that_makes_objects_is_used"),
    5: (f"{TEXT}[5 one key twice]", f"{TEXT}[5 one column twice]"),
    6: (f"{TEXT}[6 a column called no]", f"{TEXT}[6 a yes for a flag]", f"{HERE}::test_rows_6_and_7_words_and_dates"),
    7: (f"{HERE}::test_rows_6_and_7_words_and_dates",),
    8: (
        f"{TEXT}[8 a tab]",
        f"{TEXT}[8 a NUL]",
        f"{TEXT}[8 two documents]",
        f"{HERE}::test_rows_8_and_15_line_ends_and_marks_mean_the_same_in_every_format",
    ),
    9: (
        f"{TEXT}[9 larger than any project]",
        f"{TEXT}[9 more values than YAML is read]",
        "tests/schemas/test_hostile.py::test_yaml_beyond_what_two_seconds_parse_is_refused_whatever_the_caller_allows",
    ),
    10: (f"{HURT}[json equal keys]", f"{HERE}::test_rows_10_to_14_json"),
    11: (f"{TEXT}[11 infinity]", f"{HERE}::test_rows_10_to_14_json", f"{HERE}::test_row_11_no_number_that_is_none_is_written"),
    12: (f"{TEXT}[12 beyond 64 bits]", f"{HERE}::test_rows_10_to_14_json"),
    13: (f"{TEXT}[13 5,000 digits]", f"{HURT}[json 5,000 digits]", f"{HURT}[toml 5,000 digits]"),
    14: (f"{HURT}[json nesting]", "tests/schemas/test_hostile.py::test_deeper_than_the_caller_s_stack"),
    15: (
        f"{TEXT}[15 bad UTF-8]",
        f"{TEXT}[15 half a surrogate pair]",
        f"{TEXT}[15 UTF-16]",
        f"{HERE}::test_rows_8_and_15_line_ends_and_marks_mean_the_same_in_every_format",
    ),
    16: (f"{TEXT}[16 conflict in YAML]", f"{TEXT}[16 conflict in CSV]"),
    17: (f"{TEXT}[17 an empty CSV]", f"{HERE}::test_row_17_trailing_bytes_and_empty_files"),
    18: (f"{CORPUS}", "tests/schemas/notes/test_config.py::test_what_is_wrong_is_one_finding_with_a_fix"),
    19: (f"{CORPUS}",),
    20: (f"{HURT}[toml arrays]", f"{HURT}[toml inline tables]", f"{HURT}[toml dotted key]"),
    21: (f"{DVS}/test_findings.py::test_two_sidecars_that_say_different_things_are_found_and_equal_ones_are_not",),
    22: (f"{STRICT}::test_case_69_a_large_cell", "tests/schemas/test_csv_text.py::test_a_record_past_the_limit_names_the_quote"),
    23: (f"{TEXT}[23 a NUL in a cell]",),
    24: (f"{TEXT}[24 Latin-1]", f"{STRICT}::test_case_59_utf_16_is_named", f"{STRICT}::test_case_60_a_bad_byte"),
    25: (f"{STRICT}::test_case_58_a_byte_order_mark_is_not_part_of_the_header",),
    26: (f"{TEXT}[26 an open quote]", f"{TEXT}[26 text after a quote]"),
    27: (f"{TEXT}[27 a short row]", f"{TEXT}[27 a long row]", f"{TEXT}[27 a blank line]", f"{TEXT}[27 semicolons]"),
    28: (f"{TEXT}[28 a column twice]", f"{TEXT}[28 a column without a name]"),
    29: (f"{TEXT}[29 a lone CR]", "tests/schemas/test_csv_text.py::test_mixed_line_ends_are_a_warning"),
    30: (
        f"{TEXT}[30 leading zeros]",
        f"{TEXT}[30 an exponent]",
        f"{STRICT}::test_case_56_empty_is_null_and_quoted_empty_is_text",
    ),
    31: (f"{TEXT}[31 a bad date at the end]", f"{TABLES}/test_load.py::test_doubt_in_a_later_block_goes_on_with_the_strict_tier"),
    32: (
        f"{STRICT}::test_text_that_is_not_nfc_or_a_formula_is_kept_and_said",
        f"{HERE}::test_row_32_a_formula_is_text_in_the_workbook_and_stays_as_it_is_in_the_csv",
    ),
    33: (
        f"{TEXT}[33 a column nobody declared]",
        "tests/resources/tables/test_store.py::test_case_16_missing_required_and_undeclared_files",
    ),
    34: (
        f"{FRONT}::test_unclosed_frontmatter_names_its_first_line_and_gives_its_keys",
        f"{FRONT}::test_unclosed_frontmatter_followed_by_prose_still_gives_its_keys",
    ),
    35: (
        f"{NOTES}::test_row_35_a_mark_before_frontmatter_hides_nothing_and_a_list_is_said",
        f"{FRONT}::test_frontmatter_that_is_no_mapping_is_body",
    ),
    36: (
        f"{EDIT}::test_case_68_everything_outside_the_edited_span_survives",
        f"{EDIT}::test_edit_without_effect_is_the_same_bytes",
        f"{EDIT}::test_setting_keys_changes_nothing_else",
    ),
    37: (f"{SCAN}::test_forty_kilobytes_of_anything_take_a_fifth_of_a_second",),
    38: (
        f"{SCAN}::test_forty_kilobytes_of_anything_take_a_fifth_of_a_second",
        "tests/schemas/notes/test_parse.py::test_a_hundred_thousand_links_in_one_note",
    ),
    39: (f"{NOTES}::test_row_39_markup_in_a_title_is_text_in_the_picture",),
    40: (
        "tests/assets/notes/test_resolve.py::test_a_link_never_leaves_the_store",
        "tests/assets/notes/test_resolve.py::test_paths_are_joined_inside_the_store",
    ),
    41: (
        f"{NOTES}::test_row_41_one_id_made_on_two_branches_is_named_with_both_files",
        "tests/schemas/notes/test_newids.py::test_two_branches_of_ten_thousand_notes_clash_less_than_once_in_a_million",
    ),
    44: (
        f"{TEXT}[44 a newer version]",
        f"{TEXT}[45 version in quotes]",
        "tests/resources/tables/test_migrate.py::test_case_88_version_0_becomes_version_1_with_a_backup",
        "tests/resources/tables/test_migrate.py::test_case_89_a_step_that_fails_changes_nothing",
        "tests/schemas/dvs/test_manifest.py::test_a_newer_manifest_is_refused",
        f"{TOKENS}::test_a_newer_file_is_left_alone",
    ),
    45: (f"{TEXT}[45 an unknown key]", f"{TEXT}[45 version in quotes]"),
    47: (
        f"{TEXT}[47 out of the folder]",
        f"{NAMES}::test_refused_paths",
        f"{LOG}::test_a_record_names_no_file_outside_the_project",
        f"{CLI}/test_dvs_cases.py::test_case_56_a_hash_that_leads_out_is_refused_before_the_disk_is_touched",
    ),
    48: (f"{TEXT}[48 an absolute path]", "tests/resources/storage/test_storage_conformance.py::test_unsafe_paths_are_refused"),
    49: (
        f"{LOCAL}::test_links_are_never_followed",
        f"{LOCAL}::test_publish_refuses_a_scratch_folder_with_links",
        f"{DVS_CLI}::test_a_link_means_its_file_and_one_that_leads_out_is_refused",
        f"{BROKEN}::test_a_link_out_of_the_storage_is_not_followed",
    ),
    52: (
        f"{TEXT}[52 names of one form]",
        f"{NAMES}::test_collisions",
        f"{DVS}/test_findings.py::test_capitals_weak_hashes_colliding_names_and_second_configurations_are_found",
    ),
    53: (f"{TEXT}[53 a device]", f"{NAMES}::test_refused_paths"),
    54: (
        f"{TEXT}[54 a long name]",
        f"{TEXT}[54 a control character]",
        "tests/resources/test_statcache.py::test_names_that_are_no_utf8_are_entered",
        f"{ENGINE}/test_engine_guards.py::test_a_file_nobody_can_name_is_left_out_of_its_source",
    ),
    55: (
        f"{DVS}/test_links.py::test_an_edit_through_a_link_is_kept_by_add_and_found_in_the_object",
        f"{DVS}/test_links.py::test_an_object_that_somebody_may_write_to_is_not_linked",
        f"{DVS}/test_links.py::test_every_kind_brings_the_bytes_back",
    ),
    56: (
        f"{LOCAL}::test_pipes_and_folders_are_no_files",
        f"{CLI}/test_hostile.py::test_odd_things_among_the_files_are_findings_and_nobody_hangs",
    ),
    57: (
        f"{HERE}::test_row_57_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere",
        f"{HERE}::test_row_57_locks_lie_where_nobody_else_can_put_a_link",
    ),
    58: ("tests/resources/test_git.py::test_nothing_a_repository_names_is_run",),
    62: (
        f"{DVS_ROWS}::test_row_62_what_unfolds_to_more_than_is_recorded_is_stopped_there",
        "tests/resources/test_encoding.py::test_a_bomb_is_stopped_at_the_length_it_should_have",
    ),
    63: ("tests/resources/test_encoding.py::test_a_bomb_is_stopped_at_the_length_it_should_have",),
    64: ("tests/resources/test_encoding.py::test_cut_doubled_and_foreign_frames_are_refused",),
    65: ("tests/resources/test_encoding.py::test_cut_doubled_and_foreign_frames_are_refused",),
    66: (
        "tests/resources/test_packed.py::test_the_layout_of_the_third_generation_is_read",
        f"{CLI}/test_dvs_import_dvs.py::test_case_53_objects_of_either_encoding_come_back_where_nothing_is_compressed",
    ),
    85: (
        f"{FETCHING}::test_redirects_are_followed_and_each_is_checked",
        f"{FETCHING}::test_urls_that_are_refused",
    ),
    86: (
        f"{FETCHING}::test_a_connection_goes_to_the_address_that_was_checked",
        f"{FETCHING}::test_redirects_are_followed_and_each_is_checked",
    ),
    87: (f"{FETCHING}::test_addresses_that_are_not_public_are_refused_before_anything_is_sent",),
    88: (f"{REMOTE}::test_a_redirect_is_not_followed",),
    95: (
        "tests/schemas/dvs/test_oids.py::test_case_01_parsing",
        "tests/schemas/dvs/test_sidecar.py::test_upper_case_digits_are_one_object_not_two",
        f"{OBJECTS}::test_case_56_what_is_no_oid_is_refused",
    ),
    96: (
        f"{OBJECTS}::test_xxh3_is_refused_unless_it_is_allowed",
        f"{DVS}/test_findings.py::test_capitals_weak_hashes_colliding_names_and_second_configurations_are_found",
    ),
    97: (
        f"{REMOTE}::test_wrong_bytes_are_never_kept",
        f"{CLI}/test_dvs_sync.py::test_damaged_bytes_never_arrive",
        f"{DVS_CLI}::test_case_33_damaged_bytes_never_reach_the_working_tree",
    ),
    98: (
        f"{KEEP}::test_a_flipped_byte_anywhere_in_an_object_or_pack_is_found",
        f"{KEEP}::test_whole_objects_are_ok_and_subsets_cover_all",
        f"{DVS}/test_flips.py::test_a_flipped_bit_in_a_thousand_objects_is_found_and_never_served",
        f"{BROKEN}::test_a_flipped_byte_is_never_sent_as_the_object",
    ),
    99: (
        f"{DVS_ROWS}::test_row_99_a_torn_object_is_not_taken_for_whole_and_healed_by_adding_again",
        f"{BROKEN}::test_a_torn_object_is_replaced_by_the_next_upload",
    ),
    100: (
        f"{DVS_ROWS}::test_row_100_many_who_put_the_same_objects_all_succeed",
        f"{OBJECTS}::test_many_clients_at_once_lose_nothing",
    ),
    101: (
        f"{LOCAL}::test_eight_processes_lose_no_update",
        f"{TABLES}/test_execute.py::test_commands_of_two_processes_lose_no_update",
        "tests/resources/storage/test_remote_storage.py::test_racing_writers_on_s3_lose_no_update",
        f"{DVS}/test_repo.py::test_sixteen_processes_with_five_hundred_updates_each_lose_none",
        f"{DVS}/test_repo.py::test_somebody_elses_edit_during_an_update_is_kept",
    ),
    102: (
        "tests/resources/test_workspace_root.py::test_a_lock_is_freed_when_its_holder_is_killed",
        "tests/orchestration/test_instance.py::test_the_run_of_a_killed_build_is_closed_by_the_next_one",
    ),
    103: (
        f"{S3}::test_racing_writers_on_s3_lose_no_update",
        f"{S3}::test_a_race_in_the_middle_of_a_set_rolls_it_back",
        f"{KEEP}::test_writers_go_together_and_a_collector_alone",
    ),
    104: (
        f"{DVS}/test_gc.py::test_nobody_collects_while_somebody_puts_and_the_other_way_round",
        f"{DVS}/test_gc.py::test_what_was_put_lately_stays",
    ),
    105: (KILLED,),
    106: (
        f"{KEEP}::test_a_missing_object_is_said_with_its_files",
        f"{DVS}/test_status.py::test_case_35_each_status",
        f"{DVS}/test_why.py::test_everything_that_names_and_holds_an_object",
    ),
    107: (f"{DVS_ROWS}::test_row_107_nothing_is_collected_while_clocks_differ",),
    108: (
        f"{S3}::test_bytes_staged_by_a_killed_commit_are_swept",
        f"{S3}::test_large_files_go_up_in_parts",
        f"{REMOTE}::test_a_download_that_broke_off_goes_on_where_it_stopped_also_in_another_command",
    ),
    109: (
        f"{S3}::test_only_one_of_many_creates",
        f"{S3}::test_a_server_that_ignores_conditions_is_refused",
    ),
    110: (
        f"{LOCAL}::test_a_full_disk_leaves_everything_as_it_was",
        f"{TABLES}/test_sqlite.py::test_case_11_a_full_disk_is_said_and_leaves_nothing_behind",
        "tests/resources/test_duckdb_writing.py::test_case_11_a_full_disk_under_duckdb",
        f"{HERE}::test_row_110_a_disk_without_room_or_without_inodes",
        f"{CLI}/test_read_only.py::test_whatever_the_system_refuses_has_a_rule_and_a_fix",
        f"{BROKEN}::test_a_full_disk_is_said_and_leaves_nothing",
    ),
    111: (f"{CLI}/test_read_only.py::test_reading_works_and_writing_says_why_not",),
    112: (
        f"{CLI}/test_dvs_share.py::test_what_one_adds_the_other_gets_and_the_other_way_round",
        "tests/resources/storage/test_sharing.py::test_modes_follow_the_configuration_not_the_umask",
        f"{DVS_CLI}::test_modes_do_not_depend_on_the_umask",
    ),
    113: (
        f"{LOCAL}::test_a_failed_fsync_is_not_tried_again",
        f"{HERE}::test_row_113_a_file_system_that_cannot_flush_folders_is_worked_on_all_the_same",
        "tests/faults/test_tables_command_faults.py::test_a_call_of_the_command_failing",
    ),
    114: (
        f"{DVS}/test_cache_limit.py::test_what_nobody_else_is_proved_to_hold_is_never_evicted",
        f"{DVS}/test_cache_limit.py::test_a_proof_that_is_not_true_any_more_keeps_the_object",
    ),
    115: (
        f"{LOG}::test_case_82_a_torn_last_line_is_kept_apart",
        f"{TEXT}[83 a torn line in the middle]",
        f"{DVS}/test_repo.py::test_a_torn_line_of_the_log_is_taken_away_before_the_next",
        f"{KEEP}::test_a_torn_line_is_ended_and_the_chain_goes_on",
        f"{DVS}/test_doctor.py::test_lines_of_the_log_that_cannot_be_read_are_put_beside_it",
    ),
    116: (f"{KEEP}::test_many_processes_append_to_one_chain",),
    117: (f"{DVS}/test_doctor.py::test_head_is_set_to_the_newest_state_that_can_be_read",),
    118: (
        f"{DVS_ROWS}::test_row_118_going_to_a_state_that_is_gone_names_the_nearest_ones",
        f"{DVS}/test_gc.py::test_nothing_is_collected_when_the_log_cannot_be_read",
    ),
    119: (KILLED,),
    120: (
        f"{TEXT}[120 an unknown record]",
        f"{TABLES}/test_execute.py::test_case_85_replaying_twice_gives_the_same_digests",
        "tests/resources/tables/test_history_log.py::test_an_id_is_recorded_once",
    ),
    121: (
        "tests/resources/test_statcache.py::test_an_edit_within_one_tick_of_the_clock_is_seen",
        f"{DVS}/test_status.py::test_a_file_that_did_not_change_is_not_read_again",
    ),
    122: (
        f"{TABLES}/test_sqlite.py::test_case_8_a_stale_write_ahead_log_is_worked_in_and_never_replayed_into_the_new_file",
        f"{TABLES}/test_sqlite.py::test_case_9_a_stale_hot_journal",
    ),
    123: (
        f"{TABLES}/test_sqlite.py::test_case_10_a_reader_in_wal_mode_is_named",
        f"{TABLES}/test_duckdb_file.py::test_a_program_that_has_it_open_is_named",
    ),
    124: (
        "tests/resources/tables/test_import.py::test_fault_124_files_that_are_no_sound_database",
        f"{TABLES}/test_sqlite.py::test_case_13_what_lies_beside_a_corrupt_file_is_kept_but_never_replayed",
    ),
    125: (
        "tests/resources/tables/test_importing.py::test_fault_125_a_dump_that_reaches_out_is_refused",
        f"{TABLES}/test_duckdb_file.py::test_nothing_outside_can_be_reached",
        f"{CLI}/test_hostile.py::test_what_a_query_may_reach_cannot_be_widened_by_the_query",
    ),
    126: (
        f"{TEXT}[126 NUL in a name]",
        "tests/schemas/tables/test_sql.py::test_fault_126_names_never_become_sql",
        f"{CLI}/test_hostile.py::test_case_76_names_stay_names_from_the_text_to_every_artifact_and_back",
    ),
    127: (f"{TEXT}[127 text in an integer]", f"{TEXT}[127 beyond 64 bits]"),
    128: (
        f"{CLI}/test_cli_commands.py::test_query_gives_up_after_its_timeout",
        f"{CLI}/test_cli_commands.py::test_query_answers_in_three_formats_and_counts_what_it_leaves_out",
        f"{CLI}/test_hostile.py::test_what_a_query_may_reach_cannot_be_widened_by_the_query",
    ),
    129: (
        f"{CLI}/test_tables_commands.py::test_case_4_the_plan_lists_rows_only_in_the_database",
        f"{ENGINE}/test_engine_ownership.py::test_the_old_database_is_kept_until_the_next_success",
    ),
    130: (
        f"{TABLES}/test_sqlite.py::test_case_18_two_builds_give_the_same_bytes",
        f"{TABLES}/test_duckdb_file.py::test_two_builds_hold_equal_content_and_the_summary_says_which",
        f"{ENGINE}/test_engine_guards.py::test_a_fingerprint_covers_everything_that_decides_the_bytes",
    ),
    131: (
        f"{CLI}/test_hostile.py::test_fault_131_rows_edited_while_they_are_loaded_are_never_recorded_as_the_old_text",
        f"{ENGINE}/test_engine_build.py::test_text_that_never_rests_fails_the_build_and_writes_nothing",
    ),
    132: (
        f"{HERE}::test_row_132_another_branch_and_half_a_cache",
        "tests/test_promises.py::test_deleting_any_subset_brings_it_back",
    ),
    133: (
        f"{SERVE}::test_a_mutation_sent_by_get_is_not_executed",
        f"{SERVE}::test_a_mutation_from_another_origin_is_not_executed",
        f"{SERVE}::test_a_mutation_under_another_host_name_is_not_executed",
        f"{SERVE}::test_without_the_token_nothing_is_answered",
        f"{SERVE}::test_the_server_listens_on_loopback_only",
        "tests/orchestration/test_deploy.py::test_the_proxy_refuses_the_attacks",
    ),
    134: (
        "tests/orchestration/test_launch.py::test_a_run_names_its_process_and_the_home_keeps_no_pickle",
        f"{HERE}::test_row_4_no_loader_that_makes_objects_is_used",
    ),
    135: (
        "tests/orchestration/test_instance.py::test_the_instance_has_the_settings_we_ship",
        "tests/orchestration/test_instance.py::test_runs_whose_process_is_gone_are_closed_and_others_are_left",
        "tests/orchestration/test_launch.py::test_an_exception_nobody_foresaw_is_an_outcome_too",
    ),
    136: (
        "tests/orchestration/test_instance.py::test_a_lost_home_is_restored_by_a_build_with_nothing_to_do",
        "tests/orchestration/test_instance.py::test_a_damaged_home_is_put_aside_and_reported_anew",
    ),
    137: (
        f"{ENGINE}/test_engine_publish.py::test_two_processes_building_everything_agree",
        f"{CLI}/test_hostile.py::test_case_12_two_builds_at_once_of_the_real_program",
        f"{ENGINE}/test_engine_url.py::test_two_builders_agree_on_one_record",
    ),
    138: (
        f"{CLI}/test_hostile.py::test_fault_138_a_secret_is_in_nothing_that_is_printed_or_kept",
        f"{CLI}/test_hostile.py::test_keys_of_the_environment_are_not_kept_by_a_build",
        f"{SERVE}::test_the_private_file_is_private_and_the_token_is_in_no_log",
        f"{TOKENS}::test_a_token_is_kept_hashed_in_a_private_file",
        f"{ACCESS}::test_no_log_holds_a_token",
        f"{DVS_CLI}::test_settings_of_the_repository_and_of_the_clone",
        f"{REMOTE}::test_urls_that_would_leak_a_token_are_refused",
        f"{CLI}/test_dvs_sync.py::test_no_token_goes_to_a_server_that_only_the_manifest_names",
    ),
    139: (
        f"{TOKENS}::test_the_default_file_is_in_the_folder_of_settings",
        f"{DVS_CLI}::test_settings_of_the_repository_and_of_the_clone",
    ),
    140: (
        f"{TOKENS}::test_a_file_that_git_tracks_is_refused",
        f"{TOKENS}::test_a_file_that_others_can_read_is_refused",
        f"{DVS}/test_doctor.py::test_a_token_that_others_may_read",
    ),
    141: (f"{TOKENS}::test_every_token_is_compared_whichever_matches",),
    142: (
        f"{OBJECTS}::test_more_than_the_cap_is_refused_declared_or_counted",
        f"{BROKEN}::test_memory_does_not_grow_with_the_size_of_an_object",
    ),
    143: (f"{BROKEN}::test_what_is_no_request_gets_one_answer",),
    144: (
        f"{BROKEN}::test_a_head_that_does_not_end_is_cut_off",
        f"{BROKEN}::test_a_body_that_drips_is_given_up",
    ),
    145: (f"{OBJECTS}::test_case_56_what_is_no_oid_is_refused",),
    146: (f"{OBJECTS}::test_ranges",),
    147: (
        f"{OBJECTS}::test_other_bytes_than_the_oid_names_are_refused",
        f"{OBJECTS}::test_many_clients_at_once_lose_nothing",
        f"{BROKEN}::test_an_upload_that_breaks_off_leaves_nothing",
    ),
    148: (
        f"{SERVER}/test_settings.py::test_beyond_loopback_needs_tls_or_a_word",
        f"{ACCESS}::test_whether_an_object_is_here_is_not_told_without_a_token",
        f"{ACCESS}::test_whoever_sends_many_wrong_tokens_has_to_wait",
    ),
    149: (
        f"{CLI}/test_hostile.py::test_fault_149_nothing_that_is_shown_can_drive_the_terminal",
        f"{CLI}/test_cli_main.py::test_control_characters_from_the_text_cannot_drive_the_terminal",
    ),
    150: (
        f"{CLI}/test_cli_main.py::test_signals_end_a_long_query_with_their_exit_code",
        f"{CLI}/test_cli_main.py::test_an_interrupted_build_is_finished_by_the_next",
        f"{CLI}/test_cli_main.py::test_a_reader_that_goes_away_is_no_error_message",
    ),
}

ELSEWHERE: dict[int, str] = {
    57: "another user's process that races for our lock folder needs a second account; that the folder is closed to it is tested",
    103: "no NFS server runs here; on a folder the storage's own lock is polite, and what is compared at a commit counts",
    108: "the parts of an upload that was killed stay in the bucket until its lifecycle rule removes them",
    110: "a used-up quota needs a file system with quotas; its errno is answered as that of a full disk, which is tested",
    121: "file systems with coarse times (NFS, old kernels) are not here; their equal stamps are made with utime",
    135: "a segmentation fault inside a run takes the interpreter of the tests along; the run of a killed process is tested",
}
"""Rows of which one part cannot be shown here."""

LISTED = [*range(1, 42), 44, 45, *range(47, 50), *range(52, 59), *range(62, 67), *range(85, 89), *range(95, 151)]
"""The rows marked X, S, N or C."""


@cache
def _module(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"))


def _parameters(path: str, name: str) -> str:
    """The source of the module, in which the texts that are a test's parameters stand."""
    return (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("row", LISTED)
def test_every_row_has_its_tests(row: int) -> None:
    assert ROWS[row], row
    for one in ROWS[row]:
        path, _, rest = one.partition("::")
        name, _, parameter = rest.partition("[")
        tests = [node.name for node in ast.walk(_module(path)) if isinstance(node, ast.FunctionDef)]
        assert any(test == name or (test.startswith(f"{name}_") and not parameter) for test in tests), one
        if parameter:
            assert f'"{parameter.removesuffix("]")}' in _parameters(path, name), one


def test_no_row_is_forgotten_or_made_up() -> None:
    assert sorted(ROWS) == LISTED
    assert set(ELSEWHERE) <= set(ROWS)


@pytest.mark.parametrize("row", ELSEWHERE)
def test_what_cannot_be_shown_here(row: int) -> None:
    pytest.skip(f"fault {row}, in part: {ELSEWHERE[row]}")


# -- text

READERS: dict[str, Callable[[bytes, str], Any]] = {
    "json": lambda data, path: json_text.read(data, path).value,
    "yaml": lambda data, path: yaml_text.read(data, path).value,
    "toml": lambda data, path: toml_text.read(data, path).value,
    "csv": lambda data, path: [record.cells for record in csv_text.read(data, path)[1]],
}


def _refusal(kind: str, data: bytes) -> InvalidText:
    with pytest.raises(InvalidText) as caught:
        READERS[kind](data, f"file.{kind}")
    blocking = [finding for finding in caught.value.findings if finding.blocking]
    assert len(blocking) == 1
    assert blocking[0].fix
    assert blocking[0].path == f"file.{kind}"
    return caught.value


MAKE_OBJECTS = {"yaml", "_yaml", "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
BETWEEN_OUR_PROCESSES = {("assets/notes/workers.py", "pickle"), ("assets/notes/workers.py", "marshal")}
"""Pipes to children that this process started itself; nothing is stored, nothing comes from elsewhere."""


def test_row_4_no_loader_that_makes_objects_is_used() -> None:
    """Neither a YAML loader that knows tags, nor the C one that deep nesting kills, nor pickle: not imported, not asked for."""
    imported, asked = set(), set()
    for package in ("schemas", "resources", "assets", "orchestration"):
        for path in (ROOT / package).rglob("*.py"):
            where = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {(where, alias.name.partition(".")[0]) for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add((where, (node.module or "").partition(".")[0]))
                elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "YAML":
                    asked.add(ast.unparse(node))
    assert ("schemas/yaml_text.py", "ruamel") in imported
    assert {(where, name) for where, name in imported if name in MAKE_OBJECTS} <= BETWEEN_OUR_PROCESSES
    assert asked == {"YAML(typ='safe', pure=True)"}


def test_rows_6_and_7_words_and_dates() -> None:
    document = yaml_text.read(
        b"truth: [yes, no, on, off, y, n]\nnumbers: [012, 1:30, 1e3, 0o14, 0x1F]\n"
        b"when: [2001-12-14, 2001-12-14t21:59:43.10-05:00]\n",
        "words.yaml",
    )
    assert document.value == {
        "truth": ["yes", "no", "on", "off", "y", "n"],
        "numbers": [12, "1:30", 1000.0, 12, 31],
        "when": ["2001-12-14", "2001-12-14t21:59:43.10-05:00"],
    }
    warned = {(finding.line, finding.value) for finding in document.warnings if finding.rule == "yaml-ambiguous"}
    assert warned >= {(1, "yes"), (1, "no"), (1, "on"), (1, "off"), (2, "012"), (2, "1:30")}
    written = yaml_write.write({"no": "yes", "when": "2001-12-14", "octal": "012"})
    again = yaml_text.read(written.encode(), "again.yaml")
    assert again.value == {"no": "yes", "when": "2001-12-14", "octal": "012"}
    assert again.warnings == []


@pytest.mark.parametrize(
    ("kind", "text"), [("json", '{\n"a": 1\n}\n'), ("yaml", "a: 1\nb: 2\n"), ("toml", "a = 1\nb = 2\n"), ("csv", "a,b\n1,2\n")]
)
def test_rows_8_and_15_line_ends_and_marks_mean_the_same_in_every_format(kind: str, text: str) -> None:
    plain = READERS[kind](text.encode(), "plain")
    assert READERS[kind](text.replace("\n", "\r\n").encode(), "crlf") == plain
    assert READERS[kind](b"\xef\xbb\xbf" + text.encode(), "marked") == plain
    assert _refusal(kind, text.encode("utf-16")).rule == "text-encoding"
    half = _refusal(kind, text.replace("1", "\ud800", 1).encode("utf-8", "surrogatepass"))
    assert half.rule == "text-lone-surrogate"
    assert half.line is not None
    at = text.encode().index(b"1")
    bad = _refusal(kind, text.encode().replace(b"1", b"\xff", 1))
    assert bad.rule == "text-encoding"
    assert f"offset {at} " in bad.message


@pytest.mark.parametrize(
    ("text", "rule", "place"),
    [
        ('{"a": 1,\n "b": 2, "a": 1}', "text-duplicate-key", (2, 10)),
        ('{"a": NaN}', "number-not-finite", (1, 7)),
        ('{"a": -Infinity}', "number-not-finite", (1, 7)),
        ('{"a": 1e999}', "number-not-finite", (1, 7)),
        ('{"a": 9223372036854775808}', "number-out-of-range", (1, 7)),
        ('{"a": ' + "9" * 5000 + "}", "number-out-of-range", (1, 7)),
        ("[" * 65 + "]" * 65, "text-too-deep", (1, 65)),
        ('{"a": "\\ud800"}', "text-lone-surrogate", (1, 8)),
    ],
)
def test_rows_10_to_14_json(text: str, rule: str, place: tuple[int, int]) -> None:
    error = _refusal("json", text.encode())
    assert error.rule == rule
    assert (error.line, error.column) == place


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_row_11_no_number_that_is_none_is_written(value: float) -> None:
    from schemas import toml_write
    from schemas.canonical import canonical_json

    for write in (canonical_json, json_text.write, yaml_write.write, toml_write.write):
        with pytest.raises((ValueError, HeadwaterError)):
            write({"a": value})  # type: ignore[operator]  # one signature is all that is used


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("json", "{} {}"),
        ("json", "[1] x"),
        ("yaml", "a: 1\n}\n"),
        ("yaml", "[1]\nx\n"),
        ("toml", "a = 1 b"),
        ("csv", 'a\n"1"x\n'),
    ],
)
def test_row_17_trailing_bytes_and_empty_files(kind: str, text: str) -> None:
    assert _refusal(kind, text.encode()).line is not None
    if kind != "toml":  # of which nothing is a whole document
        assert _refusal(kind, b"").rule == "text-empty"


# -- spreadsheets


def test_row_32_a_formula_is_text_in_the_workbook_and_stays_as_it_is_in_the_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openpyxl import load_workbook

    from orchestration.cli.main import main

    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"]
    (tmp_path / "shop/data").mkdir(parents=True)
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    (tmp_path / "shop/project.yaml").write_text(
        "version: 1\ntables:\n  t: {columns: {id: {type: integer}, note: {type: text}}, primary_key: [id]}\n"
    )
    text = "id,note\n" + "".join(f"{number},{cell}\n" for number, cell in enumerate(cells, 1))
    (tmp_path / "shop/data/t.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["tables", "sheet", "export", "--output", "shop.xlsx"]) == 0
    with closing(load_workbook("shop.xlsx")) as book:
        found = [row[1] for row in book["t"].iter_rows(min_row=2)]
    assert [cell.value for cell in found][: len(cells)] == cells
    assert {cell.data_type for cell in found[: len(cells)]} == {"s"}
    assert all(cell.quotePrefix for cell in found[: len(cells)])
    assert main(["tables", "sheet", "import", "shop.xlsx", "--yes"]) == 0
    assert (tmp_path / "shop/data/t.csv").read_text() == text


# -- files and disks


def test_row_57_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere(tmp_path: Path) -> None:
    """Somebody changes a folder into a link to another place, and back, as fast as they can: what is read never is what
    lies there."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, data in ((root / "real", b"inside"), (outside, b"outside")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(data)
    (root / "link").symlink_to(outside)
    swap = (
        "import os, sys\nos.chdir(sys.argv[1])\nwhile True:\n"
        "    for name in ('real', 'link'):\n        os.rename(name, 'folder')\n        os.rename('folder', name)\n"
    )
    storage = LocalStorage(root, state=tmp_path / "state")
    # A process of its own: two threads of one interpreter take turns, and may keep in step.
    swapping = subprocess.Popen([sys.executable, "-c", swap, str(root)])
    read, refused, looks = 0, 0, 0
    end = time.monotonic() + 60
    try:
        while looks < 3000 or ((not read or not refused) and time.monotonic() < end):
            looks += 1
            try:
                # A write would make the folder in the moment in which there is none; it goes the same way to it.
                assert storage.read("folder/file") == b"inside"
                read += 1
            except (HeadwaterError, OSError):
                refused += 1
    finally:
        swapping.kill()
        swapping.wait()
    assert read
    assert refused
    assert sorted(os.listdir(outside)) == ["file"]
    assert (outside / "file").read_bytes() == b"outside"


def test_row_57_locks_lie_where_nobody_else_can_put_a_link(tmp_path: Path) -> None:
    with file_lock(tmp_path / "locks", "one"):
        assert (tmp_path / "locks").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("option", ["size=256k", "nr_inodes=40"], ids=["room", "inodes"])
def test_row_110_a_disk_without_room_or_without_inodes(tmp_path: Path, option: str) -> None:
    """A real file system that fills up: what was there stays, the write that failed leaves nothing, and room helps."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not here")
    program = """
import errno, os, sys
from pathlib import Path
from resources.storage.local import LocalStorage
from resources.problems import problem_of
root = Path(sys.argv[1])
storage = LocalStorage(root / "text", state=root / "state")
storage.write("kept", b"old" * 100)
number = 0
while True:
    try:
        storage.write(f"folder/{number}", b"x" * 5000)
        number += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        assert problem_of(error).rule == "disk-full"
        break
assert number > 5
try:
    storage.write("kept", b"new" * 20000)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    assert storage.read("kept") == b"old" * 100
else:
    sys.exit("there was room after all")
left = [path for path in (root / "text").rglob("*") if "hwtmp" in path.name]
assert left == [], left
assert sorted(os.listdir(root / "text/folder"), key=int) == [str(n) for n in range(number)]
for n in range(number):
    storage.delete(f"folder/{n}")
storage.write("kept", b"new" * 20000)
assert storage.read("kept") == b"new" * 20000
"""
    shell = f'mount -t tmpfs -o {option} tmpfs "$0" || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, str(tmp_path), sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_row_113_a_file_system_that_cannot_flush_folders_is_worked_on_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    flush = os.fsync
    asked = []

    def no_folders(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").is_dir():
            asked.append(fd)
            raise OSError(number, os.strerror(number))
        flush(fd)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("what a descriptor stands for cannot be told here")
    monkeypatch.setattr(os, "fsync", no_folders)
    storage = LocalStorage(tmp_path / "root", state=tmp_path / "state")
    storage.write("a/b", b"one")
    assert storage.read("a/b") == b"one"
    assert asked


# -- builds


def test_row_132_another_branch_and_half_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that git puts in the place of other text is not taken for it, going back builds nothing, and a cache of which
    somebody deleted half is no worse than none."""
    monkeypatch.setenv("HEADWATER_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "checkout"
    write_project(root / "pets")
    (root / "headwater.toml").write_text("version = 1\n")
    (root / ".gitignore").write_text(".headwater/\nplayground.*\n")

    def git(*words: str) -> None:
        given = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *given, *words], cwd=root, check=True, capture_output=True)

    def built() -> set[Result]:
        engine = Engine(open_workspace(root))
        try:
            outcomes = engine.build(["tables/*"])
            assert [outcome.error for outcome in outcomes if outcome.error is not None] == []
            assert {state.freshness for state in engine.status(["tables/*"])} == {Freshness.FRESH}
            return {outcome.result for outcome in outcomes}
        finally:
            engine.close()

    def owners() -> int:
        import sqlite3

        with closing(sqlite3.connect(root / "pets/playground.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM owner").fetchone()[0])

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "-m", "one")
    built()
    first = (root / "pets/playground.db").read_bytes()
    git("checkout", "-b", "other")
    (root / "pets/data/owner.csv").write_text("id,name\n1,Ada\n2,Bo\n3,Cy\n")
    git("commit", "-a", "-m", "two")
    assert built() >= {Result.BUILT}
    assert owners() == 3
    git("checkout", "main")
    engine = Engine(open_workspace(root))
    assert Freshness.STALE in {state.freshness for state in engine.status(["tables/*"])}
    engine.close()
    assert built() <= {Result.RESTORED, Result.FRESH}
    assert (root / "pets/playground.db").read_bytes() == first
    objects = sorted(path for path in (root / ".headwater/objects").rglob("*") if path.is_file())
    entries = sorted((root / ".headwater/builds").rglob("*.json"))
    for path in [*objects[::2], *entries[::3]]:
        path.unlink()
    git("checkout", "other")
    built()
    assert owners() == 3
    git("checkout", "main")
    built()
    assert (root / "pets/playground.db").read_bytes() == first
